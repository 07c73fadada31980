//! Opening, identifying and mapping a checkpoint of 7 GB: milliseconds and resident memory, beside a floor (reading the
//! header's bytes and parsing them, with nothing checked). The file has names and shapes of an SDXL checkpoint and
//! holes for data, as safetensors and as torch's zip. `cargo bench --bench open` prints the numbers and writes
//! `docs/benchmarks/catalog.md`. It measures; it must not judge: targets stand beside the numbers.

#![expect(clippy::unwrap_used, reason = "a bench may stop where a test does")]
#![expect(unsafe_code, reason = "a map of a file cannot be had without it")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use easel_catalog::identify::Family;
use easel_catalog::{TensorFile, identify_file};
use support::{Pickle, torch_entries, write_safetensors, write_zip};
use tempfile::TempDir;

/// Measurements of each kind, in processes of their own; medians count.
const RUNS: usize = 15;
/// What an SDXL checkpoint has.
const TENSORS: usize = 2515;
const BYTES: u64 = 7_000_000_000;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo test --benches` only wants to know that it builds and starts.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if let [what, path] = arguments.as_slice()
        && let Some((_, work)) = [("floor", floor as fn(&Path)), ("open", open)].iter().find(|(name, _)| name == what)
    {
        let (before, start) = (resident(), Instant::now());
        work(Path::new(path));
        let took = start.elapsed();
        println!("{} {}", took.as_micros(), resident().saturating_sub(before));
        return;
    }
    let dir = TempDir::new().unwrap();
    let tensors = checkpoint();
    let safetensors = dir.path().join("model.safetensors");
    write_safetensors(&safetensors, &tensors, &[("format", "pt")]);
    let zip = dir.path().join("model.ckpt");
    let shapes: Vec<(&str, &[u64])> =
        tensors.iter().map(|(name, shape, _)| (name.as_str(), shape.as_slice())).collect();
    let pickle = Pickle::new(2).raw(b"}").text("state_dict").state_dict(&shapes).raw(b"s").stop();
    let sizes: Vec<u64> = shapes.iter().map(|(_, shape)| shape.iter().product::<u64>() * 2).collect();
    write_zip(&mut File::create(&zip).unwrap(), &torch_entries(pickle, &sizes));

    let mut page = String::from(
        "# Opening a checkpoint\n\nWritten by `cargo bench -p easel-catalog --bench open` (part of `make bench`); do not \
         edit. A file with names\nand shapes of an SDXL checkpoint and holes for data: read its header, check it, tell what \
         it is, map it. The floor reads\nthe header of the safetensors file and parses the JSON, and does nothing else. \
         Medians over processes of their own.\n\n\
         | file | tensors | GB | time | target | resident | target | times the floor |\n|---|---|---|---|---|---|---|---|\n",
    );
    let floor = median("floor", &safetensors);
    for (name, path) in [("safetensors", &safetensors), ("torch zip", &zip)] {
        let found = median("open", path);
        let gb = as_f64(fs::metadata(path).unwrap().len()) / 1e9;
        let (ms, mib, ratio) = (found.ms, found.mib, found.ms / floor.ms);
        let count = tensors.len();
        writeln!(page, "| {name} | {count} | {gb:.2} | {ms:.1} ms | ≤ 50 ms | {mib:.1} MiB | ≤ 30 MiB | {ratio:.1} |")
            .unwrap();
    }
    writeln!(page, "| the floor | {} | | {:.1} ms | | {:.1} MiB | | 1.0 |", tensors.len(), floor.ms, floor.mib)
        .unwrap();
    println!("{page}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::write(root.join("docs/benchmarks/catalog.md"), page).unwrap();
}

/// What one kind of work takes.
struct Figure {
    ms: f64,
    mib: f64,
}

/// Medians over processes of their own.
fn median(what: &str, path: &Path) -> Figure {
    let (mut times, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let output = Command::new(env::current_exe().unwrap()).arg(what).arg(path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (us, kib) = text.trim().split_once(' ').unwrap();
        times.push(us.parse::<u64>().unwrap());
        sizes.push(kib.parse::<u64>().unwrap());
    }
    times.sort_unstable();
    sizes.sort_unstable();
    Figure { ms: as_f64(*times.get(RUNS / 2).unwrap()) / 1e3, mib: as_f64(*sizes.get(RUNS / 2).unwrap()) / 1024.0 }
}

#[expect(clippy::cast_precision_loss, reason = "figures are rounded for the eye")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// The header of a safetensors file, parsed and forgotten.
fn floor(path: &Path) {
    let mut file = File::open(path).unwrap();
    let mut len = [0; 8];
    file.read_exact(&mut len).unwrap();
    let mut text = Vec::new();
    file.take(u64::from_le_bytes(len)).read_to_end(&mut text).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert!(header.is_object());
}

/// What the engine does before it reads a weight.
fn open(path: &Path) {
    let file = TensorFile::open(path).unwrap();
    let identity = identify_file(&file);
    assert_eq!(identity.family.map(Family::name), Some("sdxl"), "{identity:#?}");
    // SAFETY: the file is this bench's own and is not changed while it is mapped.
    let map = unsafe { memmap2::Mmap::map(&File::open(path).unwrap()).unwrap() };
    assert_eq!(map.len() as u64, file.len);
}

/// Resident memory in KiB; 0 where the system does not say.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// As many tensors and bytes as an SDXL checkpoint has, most of them under its names.
fn checkpoint() -> Vec<(String, Vec<u64>, &'static str)> {
    let mut tensors: Vec<(String, Vec<u64>, &'static str)> = Vec::new();
    let mut add = |name: String, shape: &[u64]| tensors.push((name, shape.to_vec(), "F16"));
    let unet = "model.diffusion_model.";
    add(format!("{unet}input_blocks.0.0.weight"), &[320, 4, 3, 3]);
    add(format!("{unet}time_embed.0.weight"), &[1280, 320]);
    add(format!("{unet}label_emb.0.0.weight"), &[1280, 2816]);
    add(format!("{unet}middle_block.0.in_layers.0.weight"), &[1280]);
    add(format!("{unet}out.2.weight"), &[4, 320, 3, 3]);
    for (place, width, depth) in [("input", 640, 2), ("input", 1280, 10), ("output", 1280, 10), ("output", 640, 2)] {
        for block in 0..4 {
            for layer in 0..depth {
                let block = block + 4 * usize::from(width == 1280);
                let name = format!("{unet}{place}_blocks.{block}.1.transformer_blocks.{layer}");
                for (attention, text) in [("attn1", width), ("attn2", 2048)] {
                    add(format!("{name}.{attention}.to_q.weight"), &[width, width]);
                    add(format!("{name}.{attention}.to_k.weight"), &[width, text]);
                    add(format!("{name}.{attention}.to_v.weight"), &[width, text]);
                    add(format!("{name}.{attention}.to_out.0.weight"), &[width, width]);
                    add(format!("{name}.{attention}.to_out.0.bias"), &[width]);
                }
                for norm in ["norm1", "norm2", "norm3"] {
                    add(format!("{name}.{norm}.weight"), &[width]);
                    add(format!("{name}.{norm}.bias"), &[width]);
                }
                add(format!("{name}.ff.net.0.proj.bias"), &[8 * width]);
                add(format!("{name}.ff.net.2.weight"), &[width, 4 * width]);
            }
        }
    }
    let clip = "conditioner.embedders.0.transformer.text_model.";
    add(format!("{clip}embeddings.token_embedding.weight"), &[49408, 768]);
    let big = "conditioner.embedders.1.model.";
    add(format!("{big}token_embedding.weight"), &[49408, 1280]);
    for layer in 0..32 {
        let name = format!("{big}transformer.resblocks.{layer}");
        add(format!("{name}.attn.in_proj_weight"), &[3840, 1280]);
        add(format!("{name}.mlp.c_fc.weight"), &[5120, 1280]);
        add(format!("{name}.ln_1.weight"), &[1280]);
    }
    add("first_stage_model.decoder.conv_in.weight".into(), &[512, 4, 3, 3]);
    add("first_stage_model.decoder.mid.block_1.norm1.weight".into(), &[512]);
    let bytes: u64 = tensors.iter().map(|(_, shape, _)| shape.iter().product::<u64>() * 2).sum();
    let left = TENSORS.saturating_sub(tensors.len());
    let rows = BYTES.saturating_sub(bytes) / 2 / 1024 / left.max(1) as u64;
    for index in 0..left {
        tensors.push((format!("{unet}output_blocks.8.0.out_layers.{index}.weight"), vec![rows, 1024], "F16"));
    }
    tensors
}
