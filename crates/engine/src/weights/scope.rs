//! A place in the names of a component's tensors: `down_blocks.1.resnets.0`.

use std::fmt::Display;

use tch::{Device, Kind};

use super::{Weight, WeightMap};
use crate::Result;

/// A place in the names of a component's tensors. Layers are built from the scope that holds them.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    map: &'a WeightMap,
    prefix: String,
}

impl<'a> Scope<'a> {
    pub(super) fn new(map: &'a WeightMap) -> Self {
        Self { map, prefix: String::new() }
    }

    /// The scope one name further in.
    #[must_use]
    pub fn at(&self, name: impl Display) -> Self {
        Self { map: self.map, prefix: self.full(name) }
    }

    /// Whether a tensor of this name is here.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains(&self.full(name))
    }

    /// The tensor of this name, which must have this shape.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Weight> {
        self.map.take(&self.full(name), shape)
    }

    /// The matrix or the kernels of this name, which must have this shape. They may be in the kind that they are stored in
    /// instead of [`kind`](Self::kind), and are then to be converted when they are used.
    pub fn matrix(&self, name: &str, shape: &[i64]) -> Result<Weight> {
        self.map.take_matrix(&self.full(name), shape)
    }

    /// Whether what [`matrix`](Self::matrix) takes under this name is to stay as it lies in its file, and to be let go of
    /// when it has been used.
    pub fn stays_as_stored(&self, name: &str) -> bool {
        self.map.stays_as_stored(&self.full(name))
    }

    /// Tells that a tensor that was taken is kept as a copy of so many bytes from now on, in an order of its own.
    pub fn note_copy(&self, weight: &Weight, bytes: u64) {
        self.map.note_copy(weight, bytes);
    }

    /// Where this is, for errors: `unet: down_blocks.1`.
    pub fn place(&self) -> String {
        format!("{}: {}", self.map.component(), self.prefix)
    }

    /// Where tensors go.
    pub fn device(&self) -> Device {
        self.map.device()
    }

    /// What tensors are converted to.
    pub fn kind(&self) -> Kind {
        self.map.kind()
    }

    fn full(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
