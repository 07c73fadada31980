//! Digests of components that were read once, by place, length, time and inode of their files: kept in a file of the
//! cache folder where there is one. What cannot be read or written costs time only.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::identity::Digest;

/// A folder of models has some dozens of components; beyond this the file is begun anew.
const MOST: usize = 10_000;

/// Digests by place.
#[derive(Debug, Default)]
pub(super) struct Digests {
    known: HashMap<Digest, Digest>,
    file: Option<PathBuf>,
}

impl Digests {
    /// Those of a cache folder, or none yet.
    pub fn open(folder: Option<&Path>) -> Self {
        let file = folder.map(|folder| folder.join("components.digests"));
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let known: HashMap<_, _> = text.lines().filter_map(pair).collect();
        if known.len() > MOST {
            let _ = file.as_ref().map(fs::remove_file);
            return Self { known: HashMap::new(), file };
        }
        Self { known, file }
    }

    /// What the bytes at this place hash to.
    pub fn get(&self, place: Digest) -> Option<Digest> {
        self.known.get(&place).copied()
    }

    /// Notes what they hash to.
    pub fn put(&mut self, place: Digest, content: Digest) {
        self.known.insert(place, content);
        let Some(file) = &self.file else {
            return;
        };
        // One short write at the end of the file: engines that share the folder do not write into each other's lines.
        let line = format!("{place} {content}\n");
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        let opened = made.and_then(|()| OpenOptions::new().append(true).create(true).open(file));
        if let Err(error) = opened.and_then(|mut opened| opened.write_all(line.as_bytes())) {
            tracing::warn!(file = %file.display(), %error, "digest not kept");
            self.file = None;
        }
    }
}

fn pair(line: &str) -> Option<(Digest, Digest)> {
    let (place, content) = line.split_once(' ')?;
    Some((Digest::from_hex(place).ok()?, Digest::from_hex(content).ok()?))
}

#[cfg(test)]
mod tests {
    use super::Digests;

    #[test]
    fn digests_are_found_again_and_broken_lines_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let (place, content) = (blake3::hash(b"place"), blake3::hash(b"content"));
        let mut digests = Digests::open(Some(&cache));
        assert_eq!(digests.get(place), None);
        digests.put(place, content);
        let file = cache.join("components.digests");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("nonsense\n{text}{}", &text[..20])).unwrap();
        assert_eq!(Digests::open(Some(&cache)).get(place), Some(content));
        assert_eq!(Digests::open(None).get(place), None);
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_nothing_but_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (place, content) = (blake3::hash(b"place"), blake3::hash(b"content"));
        let mut digests = Digests::open(Some(&file));
        digests.put(place, content);
        assert_eq!(digests.get(place), Some(content));
    }
}
