//! A file of weights, whichever container it is written in: which tensors it holds and where their bytes lie. What a
//! container's header says is checked against the file before anyone maps it; no tensor's bytes are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use crate::bytes::Source;
use crate::contents::{Contents, TensorInfo};
use crate::{Error, Result, safetensors, torch_legacy, torch_zip};

/// Bytes that tell the container.
const MAGIC_BYTES: u64 = 9;

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
    /// Free text about the file: `__metadata__` of safetensors, plain values beside the weights of a pickle.
    pub metadata: BTreeMap<String, String>,
    /// What is in the file, has no meaning here and does no harm: classes that a pickle mentions.
    pub warnings: Vec<String>,
}

/// How a file of weights is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// A JSON header and the bytes.
    Safetensors,
    /// `torch.save` since 1.6: a zip with a pickle and the bytes.
    TorchZip,
    /// `torch.save` before 1.6: pickles, then the bytes.
    TorchLegacy,
}

impl TensorFile {
    /// Reads and checks the header of a file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::open(path, "a weights file"))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(Error::malformed(path, "not a regular file"));
        }
        Self::read(&mut file, metadata.len(), path)
    }

    /// Reads and checks the header of `len` bytes that lie anywhere; `path` is for errors and for [`TensorFile::path`].
    pub fn read(file: &mut (impl Read + Seek), len: u64, path: &Path) -> Result<Self> {
        let mut source = Source { file, len, path };
        let magic = source.read(0, len.min(MAGIC_BYTES))?;
        // The length of a safetensors header may begin with any byte; its first character tells the two apart.
        let (container, contents) = if magic.starts_with(torch_zip::MAGIC) {
            (Container::TorchZip, torch_zip::contents(&mut source)?)
        } else if magic.first() == Some(&torch_legacy::MAGIC) && magic.get(8) != Some(&b'{') {
            (Container::TorchLegacy, torch_legacy::contents(&mut source)?)
        } else if magic.starts_with(b"GGUF") {
            return source
                .refuse("a GGUF file; quantised weights are not read, take the safetensors file of the model");
        } else {
            source.file.rewind().map_err(Error::io(path))?;
            (Container::Safetensors, safetensors::contents(source.file, len, path)?)
        };
        let Contents { tensors, metadata, warnings } = contents;
        Ok(Self { path: path.to_owned(), len, container, tensors, metadata, warnings })
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}
