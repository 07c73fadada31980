//! Changed files: whatever is done to a sound one, it is read soundly or refused, in little time, without a panic.
//!
//! One test for each reader. Inputs start from `tests/fuzz_corpus/<target>` and from what was found new; `short` runs a
//! fixed number of changes from a fixed seed, `long` ten minutes for each target (`EASEL_FUZZ_SECONDS` says otherwise)
//! from the seed `EASEL_FUZZ_SEED`. A failure prints the seed and keeps the input: put it into the corpus.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may panic as tests do"
)]

mod support;

use std::any::Any;
use std::collections::HashSet;
use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use easel_catalog::{DiffusersFolder, TensorFile, identify, identify_file, verify};
use support::{safetensors_header, torch_legacy, torch_zip, write_safetensors};
use tempfile::TempDir;

/// Changes in `short`; of folders, which are written to disk each time, a tenth.
const SHORT: u64 = 4000;
const LONG: Duration = Duration::from_mins(10);
/// Far more than any input needs; a busy machine must not fail the test.
const MAX_TIME: Duration = Duration::from_secs(5);
const MAX_INPUT: usize = 1 << 16;

/// Numbers from a seed (splitmix64: <https://prng.di.unimi.it/splitmix64.c>).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }
}

const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 62,
    (1 << 63) - 1,
    u64::MAX,
];

/// Changes an input in one to six places.
fn change(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let len = 1 + random.below(16);
        let end = (at + len).min(input.len());
        match random.below(10) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = u8::try_from(random.below(256)).unwrap(),
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                let times = 1 + random.below(3);
                input.splice(at..at, piece.repeat(times));
            }
            4 => input.truncate(at),
            5 => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)];
                let end = (at + width).min(input.len());
                input.splice(at..end, number[..width].iter().copied());
            }
            6 if !other.is_empty() => {
                let from = random.below(other.len());
                let to = (from + len * 4).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            7 | 8 if !words.is_empty() => {
                let word = words[random.below(words.len())];
                let end = if random.below(2) == 0 { at } else { (at + word.len()).min(input.len()) };
                input.splice(at..end, word.iter().copied());
            }
            _ => {
                let digits = NUMBERS[random.below(NUMBERS.len())].to_string();
                input.splice(at..end, digits.bytes());
            }
        }
    }
    input.truncate(MAX_INPUT);
}

fn variable(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how long to test is no setting of Easel's")]
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one target over its corpus, then over changes.
fn fuzz(target: &str, words: &[&[u8]], run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz_corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty(), "{target} has no corpus");
    for (path, input) in paths.iter().zip(&corpus) {
        attempt(target, &path.display().to_string(), input, &run);
    }
    let seed = variable("EASEL_FUZZ_SEED").unwrap_or(0x0ea5_e100);
    let mut random = Random(seed);
    let time = variable("EASEL_FUZZ_SECONDS").map(Duration::from_secs).or(support::is_long().then_some(LONG));
    let start = Instant::now();
    let sound = corpus.len();
    let enough = if target == "folder" { SHORT / 10 } else { SHORT };
    let mut count = 0;
    while time.map_or(count < enough, |time| start.elapsed() < time) {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = corpus[random.below(sound)].clone();
        change(&mut input, &other, words, &mut random);
        attempt(target, &format!("change {count} from seed {seed:#x}"), &input, &run);
        // Changes of changes reach further; without coverage, chance decides which are kept.
        if random.below(64) == 0 {
            if corpus.len() < sound + 256 {
                corpus.push(input);
            } else {
                let place = sound + random.below(256);
                corpus[place] = input;
            }
        }
        count += 1;
    }
    println!("{target}: {count} changes from seed {seed:#x} in {:?}", start.elapsed());
}

fn attempt(target: &str, what: &str, input: &[u8], run: &impl Fn(&[u8])) {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| run(input)));
    let took = start.elapsed();
    if outcome.is_ok() && took < MAX_TIME {
        return;
    }
    let kept = std::env::temp_dir().join(format!("easel-fuzz-{target}-{}", std::process::id()));
    fs::write(&kept, input).unwrap();
    let why = outcome.err().map_or_else(|| format!("took {took:?}"), |panic| told(panic.as_ref()));
    panic!("{target}, {what}: {why}; the input is kept as {}", kept.display());
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

/// Reads bytes as a file: what is read must be sound, what is refused must be so in a sentence.
fn read(bytes: &[u8]) {
    match TensorFile::read(&mut Cursor::new(bytes), bytes.len() as u64, Path::new("x")) {
        Ok(file) => {
            assert_sound(&file);
            let identity = identify_file(&file);
            assert!(!identity.why.is_empty() || identity.family.is_some(), "an identity without a reason");
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.starts_with('x') && told.len() < 2000 && !told.contains('\n'), "told as `{told}`");
        }
    }
}

fn assert_sound(file: &TensorFile) {
    let mut names = HashSet::new();
    for tensor in &file.tensors {
        assert!(names.insert(&tensor.name), "`{}` stands twice", tensor.name);
        assert!(tensor.offset.checked_add(tensor.len).unwrap() <= file.len, "`{}` is outside", tensor.name);
        let count = tensor.shape.iter().try_fold(1_u64, |count, axis| count.checked_mul(*axis)).unwrap();
        let span = match &tensor.strides {
            _ if count == 0 => 0,
            None => count,
            Some(strides) => {
                assert_eq!(strides.len(), tensor.shape.len());
                tensor
                    .shape
                    .iter()
                    .zip(strides)
                    .map(|(axis, stride)| (axis - 1).checked_mul(*stride).unwrap())
                    .sum::<u64>()
                    + 1
            }
        };
        assert_eq!(span * tensor.dtype.size(), tensor.len, "`{}` has another length", tensor.name);
    }
}

#[test]
fn safetensors() {
    let words: [&[u8]; 8] = [
        b"\"__metadata__\":{",
        b"\"dtype\":\"F16\"",
        b"\"shape\":[",
        b"\"data_offsets\":[0,",
        b"}",
        b",",
        b"[[",
        b"\\ud800",
    ];
    fuzz("safetensors", &words, |bytes| {
        read(bytes);
        // Most changes move the end of the header: told where it is, the reader gets further.
        let mut fixed = bytes.to_vec();
        if let (Some(end), Some(prefix)) = (bytes.iter().rposition(|byte| *byte == b'}'), fixed.get_mut(..8)) {
            prefix.copy_from_slice(&(end.saturating_sub(7) as u64).to_le_bytes());
            read(&fixed);
        }
    });
}

#[test]
fn pickle() {
    let words: [&[u8]; 24] = [
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nFloatStorage\n",
        b"ctorch\nSize\n",
        b"ctorch._tensor\n_rebuild_from_type_v2\n",
        b"cos\nsystem\n",
        b"cfoo\nBar\n",
        b"X\x07\x00\x00\x00storage",
        b"tQ",
        b"tR",
        b")R",
        b"\x85R",
        b"}(",
        b"u",
        b"b",
        b"h\x00",
        b"q\x00",
        b"\x94",
        b"\x93",
        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"(",
        b"0",
        b"2",
    ];
    fuzz("pickle", &words, |pickle| {
        read(&torch_zip(pickle.to_vec(), &[512, 512, 6144, 64]));
        read(&torch_legacy(pickle, &[("0", 128, 512)]));
    });
}

#[test]
fn torch_zip_files() {
    let words: [&[u8]; 8] = [
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"\x01\x00\x10\x00",
        b"views/data.pkl",
        b"views/data/0",
    ];
    fuzz("torch_zip", &words, read);
}

#[test]
fn torch_legacy_files() {
    let words: [&[u8]; 4] = [b"\x80\x02.", b"\x80\x02]q\x00(", b"little_endian", b"ctorch\nHalfStorage\n"];
    fuzz("torch_legacy", &words, read);
}

#[test]
fn identities() {
    let words: [&[u8]; 14] = [
        b"\n",
        b"model.diffusion_model.",
        b"transformer_blocks.18446744073709551615.",
        b".lora_down.weight 4 768",
        b"input_hint_block.0.weight",
        b"double_blocks.0.img_attn.qkv.weight 9216 3072",
        b" 0",
        b"decoder.conv_in.weight",
        b"controlnet_cond_embedding.conv_in.weight",
        b"layers.0.self_attn.q_proj.weight",
        b"lokr_w1_a 2 18446744073709551615",
        b"pos_embed 1 36864 1536",
        b"conv_in.weight 320 9 3 3",
        b"string_to_param",
    ];
    fuzz("identify", &words, |text| {
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        for line in String::from_utf8_lossy(text).lines().take(200) {
            let mut fields = line.split(' ');
            let name: String = fields.next().unwrap_or_default().chars().take(200).collect();
            // Holes cost nothing, but their sum has to be a file's length.
            let mut shape: Vec<u64> = fields.filter_map(|field| field.parse().ok()).take(8).collect();
            while shape
                .iter()
                .try_fold(1_u64, |count, axis| count.checked_mul((*axis).max(1)))
                .is_none_or(|count| count > 1 << 36)
            {
                shape.pop();
            }
            if names.insert(name.clone()) {
                tensors.push((name, shape, "F16"));
            }
        }
        let (header, len) = safetensors_header(&tensors, &[]);
        let identity = identify_file(&TensorFile::read(&mut Cursor::new(header), len, Path::new("x")).unwrap());
        assert!(!identity.why.is_empty(), "no reason for {tensors:?}");
        assert!(identity.family.is_none() || identity.candidates.is_empty());
    });
}

#[test]
fn folders() {
    let words: [&[u8]; 12] = [
        b"\"_class_name\"",
        b"[\"diffusers\",",
        b"\"../\"",
        b"null",
        b"{",
        b"}",
        b"\"weight_map\":",
        b"\"w-1.safetensors\"",
        b"\"unet\":",
        b"\"x.bin\"",
        b"18446744073709551616",
        b"\"FluxPipeline\"",
    ];
    let dir = TempDir::new().unwrap();
    let unet = dir.path().join("unet");
    fs::create_dir_all(&unet).unwrap();
    write_safetensors(&unet.join("w-1.safetensors"), &[("a".into(), vec![2], "F16")], &[]);
    write_safetensors(&unet.join("w-2.safetensors"), &[("b".into(), vec![2], "F16")], &[]);
    let sound = r#"{"_class_name":"FluxPipeline","unet":["diffusers","UNet2DConditionModel"]}"#;
    fuzz("folder", &words, |text| {
        for (index, config, shards) in [(text, &b"{}"[..], &b"{}"[..]), (sound.as_bytes(), text, text)] {
            fs::write(dir.path().join("model_index.json"), index).unwrap();
            fs::write(unet.join("config.json"), config).unwrap();
            fs::write(unet.join("diffusion_pytorch_model.safetensors.index.json"), shards).unwrap();
            if let Ok(folder) = DiffusersFolder::open(dir.path()) {
                let _verdict = verify(&folder);
                for component in folder.components() {
                    assert!(component.dir.starts_with(dir.path()));
                    for file in component.weights().unwrap_or_default() {
                        assert!(
                            file.path.starts_with(&component.dir)
                                && file.path.parent() == Some(component.dir.as_path())
                        );
                    }
                }
            }
            let _identities = [identify(dir.path()), identify(&unet)];
        }
    });
}
