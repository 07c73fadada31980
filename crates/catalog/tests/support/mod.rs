//! Containers of weights made byte by byte, so that tests can make them wrong: pickles, torch's zips and old files,
//! safetensors with holes for data.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![expect(dead_code, reason = "no test binary uses all of it")]

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// A tensor by name and shape; the type is its file's business.
pub type Shapes<'a> = &'a [(&'a str, &'a [u64])];

/// Whether `EASEL_TEST_LEVEL` asks for full counts.
#[expect(clippy::disallowed_methods, reason = "the level of the tests is no setting of Easel's")]
pub fn is_long() -> bool {
    std::env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long")
}

/// A file among the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Instructions of a pickle.
#[derive(Clone, Default)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new(protocol: u8) -> Self {
        Self(vec![0x80, protocol])
    }

    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        let len = u32::try_from(text.len()).unwrap();
        self.raw(b"X").raw(&len.to_le_bytes()).raw(text.as_bytes())
    }

    #[must_use]
    pub fn int(self, number: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&number.to_le_bytes())
    }

    #[must_use]
    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    #[must_use]
    pub fn ints(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |pickle, number| pickle.int(*number)).raw(b"t")
    }

    /// A storage of `count` elements.
    #[must_use]
    pub fn storage(self, class: &str, key: &str, count: i64) -> Self {
        self.raw(b"(").text("storage").global("torch", class).text(key).text("cpu").int(count).raw(b"tQ")
    }

    /// As [`Pickle::storage`], as old files have it.
    #[must_use]
    pub fn old_storage(self, class: &str, key: &str, count: i64) -> Self {
        self.raw(b"(").text("storage").global("torch", class).text(key).text("cpu").int(count).raw(b"NtQ")
    }

    /// A tensor in the storage that `storage` pushes.
    #[must_use]
    pub fn tensor(self, storage: impl Fn(Self) -> Self, offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        let head = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
        let args = storage(head).int(offset).ints(shape).ints(strides);
        args.raw(&[0x89]).global("collections", "OrderedDict").raw(b")RtR")
    }

    /// A float tensor of its own storage, whole.
    #[must_use]
    pub fn plain(self, key: &str, shape: &[u64]) -> Self {
        let shape: Vec<i64> = shape.iter().map(|axis| i64::try_from(*axis).unwrap()).collect();
        let count = shape.iter().product();
        self.tensor(|pickle| pickle.storage("HalfStorage", key, count), 0, &shape, &contiguous(&shape))
    }

    /// `{name: tensor}` with storages 0, 1, …
    #[must_use]
    pub fn state_dict(self, tensors: Shapes<'_>) -> Self {
        let begin = self.raw(b"}(");
        let filled = tensors
            .iter()
            .enumerate()
            .fold(begin, |pickle, (index, (name, shape))| pickle.text(name).plain(&index.to_string(), shape));
        filled.raw(b"u")
    }

    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

pub fn contiguous(shape: &[i64]) -> Vec<i64> {
    (1..=shape.len()).map(|inner| shape.iter().skip(inner).product()).collect()
}

/// What lies in an entry of a zip.
#[derive(Clone)]
pub enum Data {
    Bytes(Vec<u8>),
    Hole(u64),
}

/// An entry of a zip, with every field that a test may want to be wrong.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub local_name: String,
    pub data: Data,
    pub method: u16,
    pub flags: u16,
    /// The length that the directory claims.
    pub claims: Option<u64>,
    /// Where the directory claims that the entry lies.
    pub offset: Option<u64>,
}

impl Entry {
    pub fn new(name: &str, data: Data) -> Self {
        Self { name: name.into(), local_name: name.into(), data, method: 0, flags: 0, claims: None, offset: None }
    }

    pub fn bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(name, Data::Bytes(bytes.into()))
    }
}

/// Writes a zip; with zip64 records as torch does.
pub fn write_zip(file: &mut (impl Write + Seek), entries: &[Entry]) {
    let mut directory = Vec::new();
    let mut at = 0_u64;
    for entry in entries {
        let (len, bytes) = match &entry.data {
            Data::Bytes(bytes) => (bytes.len() as u64, bytes.as_slice()),
            Data::Hole(len) => (*len, &[][..]),
        };
        let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
        let claims = entry.claims.unwrap_or(len);
        let offset = entry.offset.unwrap_or(at);
        let pad = (64 - (at + 30 + entry.local_name.len() as u64 + 4) % 64) % 64;
        let mut local = Vec::new();
        local.extend(0x0403_4b50_u32.to_le_bytes());
        local.extend([0, 0]);
        local.extend(entry.flags.to_le_bytes());
        local.extend(entry.method.to_le_bytes());
        local.extend([0; 8]);
        local.extend(narrow(claims).to_le_bytes());
        local.extend(narrow(claims).to_le_bytes());
        local.extend(u16::try_from(entry.local_name.len()).unwrap().to_le_bytes());
        local.extend(u16::try_from(pad + 4).unwrap().to_le_bytes());
        local.extend(entry.local_name.as_bytes());
        local.extend(*b"FB");
        local.extend(u16::try_from(pad).unwrap().to_le_bytes());
        local.resize(local.len() + usize::try_from(pad).unwrap(), b'Z');
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&local).unwrap();
        file.write_all(bytes).unwrap();
        at += local.len() as u64 + len;

        let wide: Vec<u8> = [claims, claims, offset]
            .iter()
            .filter(|wide| **wide >= u64::from(u32::MAX))
            .flat_map(|wide| wide.to_le_bytes())
            .collect();
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend([0; 4]);
        directory.extend(entry.flags.to_le_bytes());
        directory.extend(entry.method.to_le_bytes());
        directory.extend([0; 8]);
        directory.extend(narrow(claims).to_le_bytes());
        directory.extend(narrow(claims).to_le_bytes());
        directory.extend(u16::try_from(entry.name.len()).unwrap().to_le_bytes());
        let extra = if wide.is_empty() { 0 } else { wide.len() + 4 };
        directory.extend(u16::try_from(extra).unwrap().to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(narrow(offset).to_le_bytes());
        directory.extend(entry.name.as_bytes());
        if !wide.is_empty() {
            directory.extend([1, 0]);
            directory.extend(u16::try_from(wide.len()).unwrap().to_le_bytes());
            directory.extend(wide);
        }
    }
    file.seek(SeekFrom::Start(at)).unwrap();
    let count = entries.len() as u64;
    let len = directory.len() as u64;
    let mut end = directory;
    end.extend(0x0606_4b50_u32.to_le_bytes());
    end.extend(44_u64.to_le_bytes());
    end.extend([0x1e, 3, 0x2d, 0]);
    end.extend([0; 8]);
    for wide in [count, count, len, at] {
        end.extend(wide.to_le_bytes());
    }
    end.extend(0x0706_4b50_u32.to_le_bytes());
    end.extend([0; 4]);
    end.extend((at + len).to_le_bytes());
    end.extend(1_u32.to_le_bytes());
    end.extend(0x0605_4b50_u32.to_le_bytes());
    end.extend([0; 4]);
    let short = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    end.extend(short);
    end.extend(short);
    end.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    end.extend(u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes());
    end.extend([0; 2]);
    file.write_all(&end).unwrap();
}

/// A zip in memory.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    write_zip(&mut bytes, entries);
    bytes.into_inner()
}

/// The entries of a file of torch's: a pickle, and storages 0, 1, … of these lengths.
pub fn torch_entries(pickle: Vec<u8>, storages: &[u64]) -> Vec<Entry> {
    let mut entries = vec![Entry::bytes("model/data.pkl", pickle), Entry::bytes("model/byteorder", *b"little")];
    entries.extend(
        storages.iter().enumerate().map(|(key, len)| Entry::new(&format!("model/data/{key}"), Data::Hole(*len))),
    );
    entries.push(Entry::bytes("model/version", *b"3\n"));
    entries
}

/// A file of torch's whose storages are filled.
pub fn torch_zip(pickle: Vec<u8>, storages: &[u64]) -> Vec<u8> {
    let mut entries = torch_entries(pickle, storages);
    for entry in &mut entries {
        if let Data::Hole(len) = entry.data {
            entry.data = Data::Bytes(vec![7; usize::try_from(len).unwrap()]);
        }
    }
    zip(&entries)
}

/// An old file of torch's: the fourth pickle, the keys, the storages as (count, bytes).
pub fn torch_legacy(pickle: &[u8], storages: &[(&str, u64, usize)]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend(Pickle::new(2).raw(b"}").text("little_endian").raw(b"\x88s").stop());
    bytes.extend(pickle);
    let keys = storages.iter().fold(Pickle::new(2).raw(b"]("), |keys, (key, ..)| keys.text(key)).raw(b"e").stop();
    bytes.extend(keys);
    for (_, count, len) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.resize(bytes.len() + len, 7);
    }
    bytes
}

/// The header of a safetensors file of these tensors, and the length of the whole file.
pub fn safetensors_header(tensors: &[(String, Vec<u64>, &str)], metadata: &[(&str, &str)]) -> (Vec<u8>, u64) {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let notes = metadata.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
        header.insert("__metadata__".into(), notes.collect());
    }
    let mut at = 0;
    for (name, shape, dtype) in tensors {
        let size = match *dtype {
            "F8_E4M3" | "U8" => 1,
            "F16" | "BF16" => 2,
            _ => 4,
        };
        let len = shape.iter().product::<u64>() * size;
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + len]}));
        at += len;
    }
    let text = Value::Object(header).to_string();
    let bytes = [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat();
    let len = bytes.len() as u64 + at;
    (bytes, len)
}

/// A safetensors file of these tensors with holes for data.
pub fn write_safetensors(path: &Path, tensors: &[(String, Vec<u64>, &str)], metadata: &[(&str, &str)]) {
    let (header, len) = safetensors_header(tensors, metadata);
    let mut file = File::create(path).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(len).unwrap();
}
