//! What the files of a model look like from outside, to notice that they are others.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use easel_engine_protocol::ModelSource;

/// Name, length and time of every file of a model: when they differ, the model on disk is another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    /// The stamp of all places that a model comes from: files, and folders two levels deep.
    pub(super) fn of(source: &ModelSource) -> io::Result<Self> {
        let mut files = Vec::new();
        for place in [&source.path].into_iter().chain(&source.base).chain(source.parts.values()) {
            for folder in add(place, &mut files)? {
                add(&folder, &mut files)?;
            }
        }
        files.sort();
        Ok(Self(files))
    }
}

/// Adds a file, or the files of a folder; gives the folders in it.
fn add(place: &Path, files: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let found = fs::metadata(place)?;
    if !found.is_dir() {
        files.push((place.to_owned(), found.len(), found.modified().ok()));
        return Ok(folders);
    }
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        // Follows links: the Hugging Face cache is made of them.
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_dir() {
            folders.push(path);
        } else {
            files.push((path, found.len(), found.modified().ok()));
        }
    }
    Ok(folders)
}
