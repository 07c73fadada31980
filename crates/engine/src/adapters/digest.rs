//! The digest of a file's bytes, computed once for as long as the file stays the same.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// SHA-256.
pub type FileDigest = [u8; 32];

/// The most files that are remembered; more are forgotten all at once, which costs reading them again.
const REMEMBERED: usize = 4096;
/// Bytes read at once.
const BLOCK: usize = 1 << 20;

type Stamp = (u64, Option<SystemTime>);
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, (Stamp, FileDigest)>>> = LazyLock::new(Mutex::default);

/// The digest of the bytes of a file. They are read again when its length or time has changed.
pub fn of(path: &Path) -> io::Result<FileDigest> {
    let metadata = fs::metadata(path)?;
    let stamp = (metadata.len(), metadata.modified().ok());
    if let Some((known, digest)) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(path)
        && *known == stamp
        && stamp.1.is_some()
    {
        return Ok(*digest);
    }
    let digest = read(path)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(path.to_owned(), (stamp, digest));
    Ok(digest)
}

fn read(path: &Path) -> io::Result<FileDigest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(n) => hasher.update(block.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    #[test]
    fn follows_the_bytes_and_not_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        std::fs::write(&a, b"one").unwrap();
        std::fs::write(&b, b"one").unwrap();
        let one = super::of(&a).unwrap();
        assert_eq!(super::of(&b).unwrap(), one);
        std::fs::write(&a, b"two").unwrap();
        let file = std::fs::File::options().append(true).open(&a).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
        assert_ne!(super::of(&a).unwrap(), one);
        assert_eq!(super::of(&a).unwrap(), super::of(&a).unwrap());
    }
}
