//! Single files made from networks in diffusers' names, by rules written down again: those of the scripts with which
//! diffusers turns its folders into checkpoints. Nothing here uses the engine's own maps of names.

#![expect(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a failing test may panic, and no test binary uses everything"
)]

pub mod checkpoint;
pub mod inverse;
pub mod names;
pub mod random;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use easel_engine::parts::{ModelParts, Part};
use easel_engine::weights::WeightMap;
use easel_engine_protocol::ModelSource;
use tch::{Device, Kind};

/// A tensor: shape, and bytes where there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub dtype: &'static str,
    pub shape: Vec<u64>,
    /// `None` in files of which only the header matters.
    pub bytes: Option<Vec<u8>>,
}

/// The tensors of a file or network, by name.
pub type Tensors = BTreeMap<String, Stored>;

impl Stored {
    pub fn len(&self) -> u64 {
        self.shape.iter().product::<u64>() * size(self.dtype)
    }

    pub fn width(&self) -> usize {
        usize::try_from(size(self.dtype)).unwrap()
    }
}

fn size(dtype: &str) -> u64 {
    match dtype {
        "F32" => 4,
        "F16" | "BF16" => 2,
        "F8_E4M3" => 1,
        other => panic!("{other}"),
    }
}

/// Writes a safetensors file; tensors without bytes leave a hole in it.
pub fn write(path: &Path, tensors: &Tensors) {
    let mut header = serde_json::Map::new();
    let mut next = 0;
    for (name, tensor) in tensors {
        let end = next + tensor.len();
        let entry = serde_json::json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [next, end]});
        header.insert(name.clone(), entry);
        next = end;
    }
    let mut text = serde_json::to_string(&header).unwrap().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = File::create(path).unwrap();
    file.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&text).unwrap();
    if tensors.values().all(|tensor| tensor.bytes.is_some()) {
        for tensor in tensors.values() {
            file.write_all(tensor.bytes.as_ref().unwrap()).unwrap();
        }
    } else {
        file.set_len(8 + text.len() as u64 + next).unwrap();
    }
}

/// The tensors of a component of a folder, or of a file.
pub fn read(path: &Path) -> Tensors {
    let mut tensors = Tensors::new();
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    for path in files {
        let bytes = std::fs::read(path).unwrap();
        for (name, view) in safetensors::SafeTensors::deserialize(&bytes).unwrap().iter() {
            let dtypes = [
                (safetensors::Dtype::F32, "F32"),
                (safetensors::Dtype::F16, "F16"),
                (safetensors::Dtype::BF16, "BF16"),
            ];
            let Some((_, dtype)) = dtypes.into_iter().find(|(dtype, _)| *dtype == view.dtype()) else { continue };
            let shape = view.shape().iter().map(|&n| n as u64).collect();
            tensors.insert(name.to_owned(), Stored { dtype, shape, bytes: Some(view.data().to_vec()) });
        }
    }
    tensors
}

/// Numbers that nobody chose.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1))
    }

    pub fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub fn flip(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }

    /// Finite numbers of half precision.
    pub fn halves(&mut self, shape: &[u64]) -> Stored {
        let count = shape.iter().product::<u64>();
        let bytes = (0..count).flat_map(|_| u16::try_from(self.next() % 0x7c00).unwrap().to_le_bytes()).collect();
        Stored { dtype: "F16", shape: shape.to_vec(), bytes: Some(bytes) }
    }
}

/// The same names with bytes at random.
pub fn filled(names: &[(String, Vec<u64>)], dice: &mut Dice) -> Tensors {
    names.iter().map(|(name, shape)| (name.clone(), dice.halves(shape))).collect()
}

/// The same names without bytes.
pub fn hollow(names: &[(String, Vec<u64>)]) -> Tensors {
    let hole = |shape: &Vec<u64>| Stored { dtype: "F16", shape: shape.clone(), bytes: None };
    names.iter().map(|(name, shape)| (name.clone(), hole(shape))).collect()
}

/// Opens a model that must open.
pub fn open(source: &ModelSource) -> ModelParts {
    ModelParts::open(source).unwrap_or_else(|error| panic!("{}: {error}", source.path.display()))
}

/// What differs between two parts: names, shapes and every number.
pub fn differences(ours: &Part, theirs: &Part) -> Vec<String> {
    let plain = |name: &str| name.strip_prefix("text_model.").unwrap_or(name).to_owned();
    let sorted = |part: &Part| {
        let mut tensors: Vec<_> = part.tensors.iter().map(|t| (plain(&t.name), t.name.clone(), t.shape())).collect();
        tensors.sort();
        tensors
    };
    let [ours_map, theirs_map] =
        [ours, theirs].map(|part| WeightMap::of(part, Device::Cpu, Kind::Float).expect("a map of the file"));
    let (a, b) = (sorted(ours), sorted(theirs));
    let mut wrong = Vec::new();
    let listed = |tensors: &[(String, String, Vec<u64>)]| -> Vec<(String, Vec<u64>)> {
        tensors.iter().map(|(plain, _, shape)| (plain.clone(), shape.clone())).collect()
    };
    let (in_a, in_b) = (listed(&a), listed(&b));
    wrong.extend(in_a.iter().filter(|tensor| !in_b.contains(tensor)).map(|tensor| format!("only ours: {tensor:?}")));
    wrong.extend(in_b.iter().filter(|tensor| !in_a.contains(tensor)).map(|tensor| format!("only theirs: {tensor:?}")));
    if !wrong.is_empty() {
        return wrong;
    }
    for ((name, ours, shape), (_, theirs, _)) in a.iter().zip(&b) {
        let shape: Vec<i64> = shape.iter().map(|&n| i64::try_from(n).unwrap()).collect();
        let ours = ours_map.root().tensor(ours, &shape).unwrap();
        let theirs = theirs_map.root().tensor(theirs, &shape).unwrap();
        if !ours.equal(&theirs) {
            wrong.push(format!("{name} has other numbers"));
        }
    }
    wrong
}
