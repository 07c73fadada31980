//! Bytes of a file by their place, checked against its length before they are asked for.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::{Error, Result};

/// A file of a known length that is read piece by piece.
pub(crate) struct Source<'f, F> {
    pub file: &'f mut F,
    pub len: u64,
    /// For errors.
    pub path: &'f Path,
}

impl<F: Read + Seek> Source<'_, F> {
    /// The bytes from `offset` on. [`Error::Truncated`] when the file ends before.
    pub fn read(&mut self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let expected = offset.saturating_add(len);
        if expected > self.len {
            return Err(Error::Truncated { path: self.path.to_owned(), expected, found: self.len });
        }
        self.file.seek(SeekFrom::Start(offset)).map_err(Error::io(self.path))?;
        // Callers limit `len`, and the file has it.
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        Read::take(&mut *self.file, len).read_to_end(&mut bytes).map_err(Error::io(self.path))?;
        // The file was cut while it was read.
        if (bytes.len() as u64) < len {
            let found = offset.saturating_add(bytes.len() as u64);
            return Err(Error::Truncated { path: self.path.to_owned(), expected, found });
        }
        Ok(bytes)
    }

    /// A refusal of the file. A reason may quote the file: it stays one line, and a sentence.
    pub fn refuse<T>(&self, reason: impl AsRef<str>) -> Result<T> {
        let reason: String = reason.as_ref().chars().filter(|c| !c.is_control()).take(400).collect();
        Err(Error::malformed(self.path, reason))
    }
}

/// Numbers of fixed width, taken from the front of bytes.
pub(crate) struct Fields<'b>(pub &'b [u8]);

impl<'b> Fields<'b> {
    pub fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}
