//! All tensors of one component by name.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use memmap2::Mmap;
use tch::{Device, Kind};

use super::Scope;
use super::weight::{self, Pages, Weight};
use crate::adapters::OpenPatches;
use crate::parts::{Part, PartTensor};
use crate::{Error, Result};

/// All tensors of one component by name. A model takes what it needs through a [`Scope`]; what nobody
/// took can be asked for afterwards.
#[derive(Debug)]
pub struct WeightMap {
    component: String,
    tensors: HashMap<String, (PartTensor, Arc<Mmap>)>,
    taken: RefCell<HashSet<String>>,
    /// Bytes of the tensors that were taken: copies, and views of the files.
    bytes: Cell<(u64, u64)>,
    patches: Option<OpenPatches>,
    device: Device,
    kind: Kind,
    as_stored: fn(&str) -> bool,
}

impl WeightMap {
    /// Maps the files of a part, and those of the adapters that change it.
    pub fn of(part: &Part, device: Device, kind: Kind) -> Result<Self> {
        let mut maps = HashMap::new();
        let mut tensors = HashMap::new();
        for tensor in &part.tensors {
            let map = match maps.entry(tensor.file.path.as_path()) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(new) => {
                    let map = weight::map_file(&tensor.file).map_err(|error| error.within(&part.name))?;
                    Arc::clone(new.insert(map))
                }
            };
            tensors.insert(tensor.name.clone(), (tensor.clone(), map));
        }
        let patches = part.patches.as_ref().map(|patches| patches.open(device)).transpose()?;
        let taken = RefCell::default();
        Ok(Self {
            component: part.name.clone(),
            tensors,
            taken,
            bytes: Cell::default(),
            patches,
            device,
            kind,
            as_stored: |_| false,
        })
    }

    /// Leaves the matrices and kernels of these names in their file, also where that is half as large: layers convert
    /// and order them each time they use them.
    #[must_use]
    pub fn with_matrices_as_stored(mut self, which: fn(&str) -> bool) -> Self {
        self.as_stored = which;
        self
    }

    /// The names that begin at the root.
    pub fn root(&self) -> Scope<'_> {
        Scope::new(self)
    }

    /// Where the tensors go.
    pub fn device(&self) -> Device {
        self.device
    }

    /// What the tensors are converted to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What this component is called.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// Whether there is a tensor of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor of this name, which must have this shape.
    pub(super) fn take(&self, name: &str, shape: &[i64]) -> Result<Weight> {
        self.take_as(name, shape, false)
    }

    /// The matrix or the kernels of this name, of this shape; perhaps in another kind, as it is stored.
    pub(super) fn take_matrix(&self, name: &str, shape: &[i64]) -> Result<Weight> {
        self.take_as(name, shape, self.stays_as_stored(name))
    }

    /// Whether what is taken as a matrix under this name is left in its file.
    pub(super) fn stays_as_stored(&self, name: &str) -> bool {
        self.device == Device::Cpu && self.kind == Kind::Float && (self.as_stored)(name)
    }

    fn take_as(&self, name: &str, shape: &[i64], as_stored: bool) -> Result<Weight> {
        let Some((tensor, map)) = self.tensors.get(name) else {
            return Err(Error::broken(format!(
                "{}: tensor {name} of shape {shape:?} is missing from the weights",
                self.component
            )));
        };
        let found = tensor.shape();
        let fits = found.len() == shape.len()
            && found.iter().zip(shape).all(|(&found, &needed)| u64::try_from(needed) == Ok(found));
        if !fits {
            return Err(Error::broken(format!(
                "{}: tensor {name} has shape {:?} in the file, the config needs {shape:?}",
                self.component, found
            )));
        }
        self.taken.borrow_mut().insert(name.to_owned());
        let read = |kind| weight::read(map, tensor, kind, self.device);
        let weight = match self.patches.as_ref().filter(|patches| patches.touch(name)) {
            None if as_stored => {
                let stored = weight::kind_of(&tensor.info)?;
                read(if matches!(stored, Kind::Half | Kind::BFloat16) { stored } else { self.kind })
            }
            None => read(self.kind),
            // In single precision, and rounded once.
            Some(patches) => read(Kind::Float)
                .and_then(|base| patches.apply(name, &base))
                .and_then(|patched| Ok(Weight::own(patched.f_totype(self.kind)?))),
        }
        .map_err(|e| e.within(&self.component))?;
        let (copied, viewed) = self.bytes.get();
        let bytes = self.bytes_of(&weight);
        self.bytes.set(if weight.is_view() { (copied, viewed + bytes) } else { (copied + bytes, viewed) });
        Ok(weight)
    }

    /// A tensor that was taken is kept as a copy of so many bytes from now on, in an order of its own.
    pub(super) fn note_copy(&self, weight: &Weight, bytes: u64) {
        let (copied, viewed) = self.bytes.get();
        let before = self.bytes_of(weight);
        let (copied, viewed) = if weight.is_view() {
            (copied, viewed.saturating_sub(before))
        } else {
            (copied.saturating_sub(before), viewed)
        };
        self.bytes.set((copied + bytes, viewed));
    }

    fn bytes_of(&self, weight: &Weight) -> u64 {
        weight.numel() as u64 * weight.f_kind().unwrap_or(self.kind).elt_size_in_bytes() as u64
    }

    /// Bytes of the tensors that were taken: how many lie in memory of the device's own, and how many in the files.
    pub fn taken_bytes(&self) -> (u64, u64) {
        self.bytes.get()
    }

    /// Where the views lie that were taken; none where all was copied.
    pub fn pages(&self) -> Pages {
        let (_, viewed) = self.bytes.get();
        let mappings = self.tensors.values().filter(|_| viewed > 0).map(|(_, mapping)| mapping);
        Pages::of(mappings)
    }

    /// A sentence about tensors that no part of the model took, unless `known` explains all of them.
    pub fn left_over(&self, known: impl Fn(&str) -> bool) -> Option<String> {
        let taken = self.taken.borrow();
        let mut names: Vec<&str> =
            self.tensors.keys().map(String::as_str).filter(|name| !taken.contains(*name) && !known(name)).collect();
        names.sort_unstable();
        let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let more = match names.len() {
            0 => return None,
            1..=3 => String::new(),
            n => format!(" and {} more", n - 3),
        };
        Some(format!("{}: the weights hold tensors that the config has no place for: {shown}{more}", self.component))
    }
}
