//! Which part of which files a part is, and which parts could be the same though they lie in other files: both told from
//! headers and from what the file system says, without reading a weight.

use std::any::type_name;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::Network;
use crate::Result;
use crate::parts::Part;

/// A digest.
pub(super) type Digest = blake3::Hash;

/// The part at this place as it is now: another one once a file of it has changed.
pub(super) fn place<N: Network>(part: &Part) -> Digest {
    let mut hasher = Fields::new(type_name::<N>());
    hasher.text(&part.class);
    hasher.text(&serde_json::Value::from(part.config.clone()).to_string());
    for path in part.files() {
        hasher.text(&path.to_string_lossy());
        // A file that is gone is told by who opens it.
        if let Ok(found) = fs::metadata(&path) {
            for number in [found.len(), found.ino(), found.dev()] {
                hasher.number(number);
            }
            hasher.text(&format!("{}.{:09}", found.mtime(), found.mtime_nsec()));
        }
    }
    hasher.patches(part);
    for tensor in &part.tensors {
        hasher.text(&tensor.name);
        hasher.text(&tensor.file.path.to_string_lossy());
        hasher.number(tensor.info.offset);
        hasher.number(tensor.info.len);
        hasher.text(&format!("{:?} {:?}", tensor.form, tensor.info.strides));
    }
    hasher.finish()
}

/// What two parts must have in common to be the same: what is computed with, and the names, types and shapes of the
/// tensors. Parts of the same outline are told apart by their bytes.
pub(super) fn outline<N: Network>(part: &Part) -> Result<Digest> {
    let mut tensors: Vec<_> =
        part.tensors.iter().filter_map(|tensor| Some((N::role(part, &tensor.name)?, tensor))).collect();
    tensors.sort_by(|a, b| a.0.cmp(b.0));
    let mut hasher = Fields::new(type_name::<N>());
    hasher.text(&N::settings(part)?);
    hasher.patches(part);
    for (role, tensor) in tensors {
        hasher.text(role);
        hasher.text(&tensor.info.dtype.to_string());
        hasher.text(&format!("{:?}", tensor.shape()));
    }
    Ok(hasher.finish())
}

/// Hashes fields so that no two lists of them run into one.
struct Fields(blake3::Hasher);

impl Fields {
    fn new(what: &str) -> Self {
        let mut fields = Self(blake3::Hasher::new());
        fields.text(what);
        fields
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    /// What adapters change, by the bytes of their files.
    fn patches(&mut self, part: &Part) {
        if let Some(patches) = &part.patches {
            self.0.update(&patches.digest());
        }
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn finish(&self) -> Digest {
        self.0.finalize()
    }
}
