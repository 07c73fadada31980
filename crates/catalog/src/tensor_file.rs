//! A file of weights, whichever container it is written in: which tensors it holds and where their bytes lie. What a
//! container's header says is checked against the file before anyone maps it; no tensor's bytes are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::tensor_type::TensorType;
use crate::{Error, Result, safetensors};

/// A file of weights whose header has been checked: every tensor lies inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorFile {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// How it is written.
    pub container: Container,
    /// Its tensors in the order of their bytes.
    pub tensors: Vec<TensorInfo>,
    /// Free text about the file: `__metadata__` of safetensors.
    pub metadata: BTreeMap<String, String>,
}

/// How a file of weights is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// A JSON header and the bytes.
    Safetensors,
}

/// Where a tensor lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: TensorType,
    /// Its shape, outermost first; empty for a scalar.
    pub shape: Vec<u64>,
    /// Elements from one index of an axis to the next, one number for each axis; `None` where the elements lie in order
    /// without gaps.
    pub strides: Option<Vec<u64>>,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Bytes from the first element to the end of the last.
    pub len: u64,
}

/// What a container's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub tensors: Vec<TensorInfo>,
    pub metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Reads and checks the header of a file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::open(path, "a weights file"))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(Error::malformed(path, "not a regular file"));
        }
        let len = metadata.len();
        let Contents { tensors, metadata } = safetensors::contents(&mut file, len, path)?;
        Ok(Self { path: path.to_owned(), len, container: Container::Safetensors, tensors, metadata })
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}
