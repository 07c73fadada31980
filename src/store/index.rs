//! What lies in a folder: how large each file is and when it expires.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use super::{Name, file};

/// Files take whole blocks.
const BLOCK: u64 = 4096;

#[derive(Debug, Default)]
pub(super) struct Index {
    files: HashMap<Name, Place>,
    by_expiry: BTreeSet<(u64, Name)>,
    bytes: u64,
    /// For files that are being written.
    reserved: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    expires: u64,
    size: u64,
}

/// What a file of this length takes.
pub(super) fn on_disk(length: u64) -> u64 {
    length.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
}

impl Index {
    /// Reads the folder. Unfinished files of processes that have ended are removed, and so are files that are not whole:
    /// nobody can use them.
    pub(super) fn load(folder: &Path) -> io::Result<Self> {
        let mut index = Self::default();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(index),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str() else { continue };
            if entry.file_type()?.is_dir() {
                // Not ours: files lie beside one another.
                continue;
            }
            if let Some(name) = Name::parse(name) {
                if let Some((expires, size)) = file::look(&path) {
                    index.insert(name, expires, size);
                } else {
                    tracing::warn!(file = %path.display(), "a stored file is broken and is removed");
                    fs::remove_file(&path)?;
                }
            } else if file::is_left_behind(&path, name) {
                fs::remove_file(&path)?;
            }
        }
        Ok(index)
    }

    pub(super) fn insert(&mut self, name: Name, expires: u64, size: u64) {
        self.remove(&name);
        self.by_expiry.insert((expires, name.clone()));
        self.files.insert(name, Place { expires, size });
        self.bytes += size;
    }

    pub(super) fn remove(&mut self, name: &Name) {
        if let Some(Place { expires, size }) = self.files.remove(name) {
            self.by_expiry.remove(&(expires, name.clone()));
            self.bytes -= size;
        }
    }

    pub(super) fn holds(&self, name: &Name) -> bool {
        self.files.contains_key(name)
    }

    /// Sets `size` bytes aside within `most`, and takes out what has to go for it: what expires first goes first. `None`
    /// when there would not be room even then, because of what others have set aside.
    pub(super) fn reserve(&mut self, size: u64, most: u64) -> Option<Vec<Name>> {
        if self.reserved + size > most {
            return None;
        }
        let mut gone = Vec::new();
        while self.bytes + self.reserved + size > most {
            let (_, first) = self.by_expiry.first().cloned()?;
            self.remove(&first);
            gone.push(first);
        }
        self.reserved += size;
        Some(gone)
    }

    /// Gives back what was set aside.
    pub(super) fn release(&mut self, size: u64) {
        self.reserved = self.reserved.saturating_sub(size);
    }

    /// Takes out what has expired at `now`.
    pub(super) fn expired(&mut self, now: u64) -> Vec<Name> {
        let mut gone = Vec::new();
        while let Some((_, name)) = self.by_expiry.first().filter(|(expires, _)| *expires <= now).cloned() {
            self.remove(&name);
            gone.push(name);
        }
        gone
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
