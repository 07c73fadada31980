//! Headers of safetensors files, read strictly: what a header says is checked against the file before anyone maps it.
//! Format: <https://github.com/huggingface/safetensors#format>. Never reads a tensor's bytes.

mod header;
mod tensor_type;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use tensor_type::TensorType;

use crate::{Error, Result};

/// The longest header that is read; SDXL's is 0.2 MiB, the largest seen in public files about 3 MiB.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// The most tensors in one file.
pub const MAX_TENSORS: usize = 50_000;

/// Bytes of the header's length, which come before it.
const PREFIX: u64 = 8;

/// A safetensors file whose header has been checked: every tensor lies inside the file, none overlap, nothing is left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsFile {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// Its tensors in the order of their bytes.
    pub tensors: Vec<TensorInfo>,
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
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl SafetensorsFile {
    /// Reads and checks the header of a file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::open(path, "a weights file"))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(Error::malformed(path, "not a regular file"));
        }
        let len = metadata.len();
        let tensors = read_header(&mut file, len, path)?;
        Ok(Self { path: path.to_owned(), len, tensors })
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// Reads the header from the start of a file of `len` bytes; `path` is only for errors.
fn read_header(file: &mut impl Read, len: u64, path: &Path) -> Result<Vec<TensorInfo>> {
    let truncated = |expected| Error::Truncated { path: path.to_owned(), expected, found: len };
    if len < PREFIX {
        return Err(truncated(PREFIX));
    }
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(Error::io(path))?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > MAX_HEADER_BYTES {
        let reason = format!("not safetensors: a header of {header_len} bytes, at most {MAX_HEADER_BYTES} are read");
        return Err(Error::malformed(path, reason));
    }
    let data_start = PREFIX + header_len;
    if len < data_start {
        return Err(truncated(data_start));
    }
    let mut text = Vec::new();
    file.take(header_len).read_to_end(&mut text).map_err(Error::io(path))?;
    let tensors = header::parse(&text, data_start).map_err(|reason| Error::malformed(path, tidy(&reason)))?;
    let end = tensors.last().map_or(data_start, |last| last.offset + last.len);
    if len < end {
        return Err(truncated(end));
    }
    if len > end {
        return Err(Error::malformed(path, format!("{} bytes after the last tensor belong to none", len - end)));
    }
    Ok(tensors)
}

/// A reason may quote the file: it stays one line, and a sentence.
fn tidy(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests;
