//! What the files of a model are, told without reading gigabytes: their names, sizes and times. A file that is replaced
//! has another digest; one that was only copied elsewhere may have, too, which costs a picture that is made again.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

/// How deep the folders of a model go.
const DEPTH: usize = 4;

/// The digest of everything that a model is made of: files, and folders with all that is in them. A file that cannot
/// be looked at counts with its name.
pub(super) fn of<'a>(places: impl Iterator<Item = (&'a str, &'a Path)>) -> String {
    let mut files = Vec::new();
    for (name, path) in places {
        if path.is_dir() {
            list(path, &format!("{name}/"), DEPTH, &mut files);
        } else {
            files.push(described(name.to_owned(), path));
        }
    }
    files.sort();
    let mut digest = Sha256::new();
    for (name, size, nanoseconds) in files {
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update(size.to_le_bytes());
        digest.update(nanoseconds.to_le_bytes());
    }
    format!("{:x}", digest.finalize())
}

fn list(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<(String, u64, u128)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // Followed, because the hub's cache consists of links.
        match fs::metadata(entry.path()) {
            Ok(found) if found.is_dir() => {
                if depth > 1 {
                    list(&entry.path(), &format!("{name}/"), depth - 1, files);
                }
            }
            Ok(_) | Err(_) => files.push(described(name, &entry.path())),
        }
    }
}

fn described(name: String, path: &Path) -> (String, u64, u128) {
    let Ok(found) = fs::metadata(path) else { return (name, 0, 0) };
    let time = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (name, found.len(), time.map_or(0, |time| time.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_another_digest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("unet/weights");
        fs::create_dir(folder.path().join("unet")).unwrap();
        fs::write(&file, b"one").unwrap();
        let of_folder = |folder: &Path| of([("source", folder)].into_iter());
        let first = of_folder(folder.path());
        assert_eq!(first, of_folder(folder.path()));
        fs::write(&file, b"three").unwrap();
        let second = of_folder(folder.path());
        assert_ne!(first, second);
        fs::rename(&file, folder.path().join("unet/other")).unwrap();
        assert_ne!(second, of_folder(folder.path()));
    }
}
