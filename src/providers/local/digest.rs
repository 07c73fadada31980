//! What the files of a model are, told without reading gigabytes: their names, sizes and times. A file that is replaced
//! has another digest; one that was only copied elsewhere may have, too, which costs a picture that is made again.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

/// How deep the folders of a model go.
const DEPTH: usize = 4;

/// The digest of everything in a model's folder. A file that cannot be looked at counts with its name.
pub(super) fn of_folder(folder: &Path) -> String {
    let mut files = Vec::new();
    list(folder, "", DEPTH, &mut files);
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
            Ok(found) => {
                let time = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                files.push((name, found.len(), time.map_or(0, |time| time.as_nanos())));
            }
            Err(_) => files.push((name, 0, 0)),
        }
    }
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
        let first = of_folder(folder.path());
        assert_eq!(first, of_folder(folder.path()));
        fs::write(&file, b"three").unwrap();
        let second = of_folder(folder.path());
        assert_ne!(first, second);
        fs::rename(&file, folder.path().join("unet/other")).unwrap();
        assert_ne!(second, of_folder(folder.path()));
    }
}
