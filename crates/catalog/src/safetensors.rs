//! Headers of safetensors files, read strictly: what a header says is checked against the file before anyone maps it.
//! Format: <https://github.com/huggingface/safetensors#format>. Never reads a tensor's bytes.

mod header;

use std::io::Read;
use std::path::Path;

use crate::contents::Contents;
use crate::{Error, Result};

/// The longest header that is read; SDXL's is 0.2 MiB, the largest seen in public files about 3 MiB. A parser that quotes
/// a text of this length in an error holds it several times.
pub const MAX_HEADER_BYTES: u64 = 8 << 20;

/// Bytes of the header's length, which come before it.
const PREFIX: u64 = 8;

/// Reads the header from the start of a file of `len` bytes; `path` is only for errors.
pub(crate) fn contents(file: &mut impl Read, len: u64, path: &Path) -> Result<Contents> {
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
    // Grown while it is read, it would be held twice.
    let mut text = Vec::with_capacity(usize::try_from(header_len).unwrap_or(0));
    file.take(header_len).read_to_end(&mut text).map_err(Error::io(path))?;
    let contents = header::parse(&text, data_start).map_err(|reason| Error::malformed(path, tidy(&reason)))?;
    let end = contents.tensors.last().map_or(data_start, |last| last.offset + last.len);
    if len < end {
        return Err(truncated(end));
    }
    if len > end {
        return Err(Error::malformed(path, format!("{} bytes after the last tensor belong to none", len - end)));
    }
    Ok(contents)
}

/// A reason may quote the file: it stays one line, and a sentence.
fn tidy(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests;
