//! The changes that a stack of adapters makes to one component, by tensor; and the tensors with those changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use super::file::AdapterFile;
use super::merge;
use super::patch::Patch;
use crate::weights::WeightMap;
use crate::{Error, Result};

/// What a stack of adapters changes about one component.
#[derive(Debug)]
pub struct Patches {
    files: Vec<Arc<AdapterFile>>,
    /// By the name of the tensor, in the order of the stack.
    tensors: BTreeMap<String, Vec<Patch>>,
    digest: [u8; 32],
}

impl Patches {
    pub(super) fn new(files: Vec<Arc<AdapterFile>>, tensors: BTreeMap<String, Vec<Patch>>) -> Self {
        let mut hasher = Sha256::new();
        for (name, patches) in &tensors {
            hasher.update(name.as_bytes());
            for patch in patches {
                // The bytes of the file and how they are used; where the file lies does not matter.
                let digest = files.get(patch.file).map(|file| file.digest()).unwrap_or_default();
                hasher.update(digest);
                hasher.update(patch.scale.to_bits().to_le_bytes());
                hasher.update(format!("{:?}{:?}{}{:?}", patch.change, patch.rows, patch.swapped, patch.magnitude));
            }
            hasher.update([0]);
        }
        Self { files, tensors, digest: hasher.finalize().into() }
    }

    /// Says whether two stacks are the same: by the bytes of their files, and by what is done with them.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The names of the tensors that are changed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The files that the changes are read from.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.files.iter().map(|file| file.path().to_owned()).collect()
    }

    /// Ready to be applied on a device.
    pub(crate) fn open(self: &Arc<Self>, device: Device) -> Result<OpenPatches> {
        let files = self.files.iter().map(|file| file.weights(device)).collect::<Result<_>>()?;
        Ok(OpenPatches { patches: Arc::clone(self), files })
    }
}

/// Patches whose files are mapped.
#[derive(Debug)]
pub(crate) struct OpenPatches {
    patches: Arc<Patches>,
    files: Vec<WeightMap>,
}

impl OpenPatches {
    /// Whether this tensor is changed.
    pub(crate) fn touch(&self, name: &str) -> bool {
        self.patches.tensors.contains_key(name)
    }

    /// The tensor of this name with all changes, from the tensor in single precision without them. In single precision.
    pub(crate) fn apply(&self, name: &str, base: &Tensor) -> Result<Tensor> {
        let patches = self.patches.tensors.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut changes = Vec::with_capacity(patches.len());
        for patch in patches {
            let file = self.files.get(patch.file).ok_or_else(|| Error::internal("an adapter file is gone"))?;
            changes.push((patch, file));
        }
        merge::merge(base, &changes).map_err(|error| error.within(name))
    }
}
