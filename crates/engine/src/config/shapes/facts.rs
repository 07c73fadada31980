//! What can be read off names and shapes.

use crate::keymap::Shapes;
use crate::{Error, Result};

/// The tensors of a network under diffusers' names, and what the network is called in errors.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    component: &'a str,
    shapes: &'a Shapes,
}

impl<'a> Facts<'a> {
    /// The facts of `component`.
    pub fn new(component: &'a str, shapes: &'a Shapes) -> Self {
        Self { component, shapes }
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&'a [u64]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    /// An axis of a tensor, if both are there.
    pub fn find(&self, name: &str, axis: usize) -> Option<u64> {
        self.shape(name)?.get(axis).copied()
    }

    /// An axis of a tensor that the network cannot be without.
    pub fn axis(&self, name: &str, axis: usize) -> Result<u64> {
        let Some(shape) = self.shape(name) else {
            return Err(self.error(format!("tensor {name} is missing from the weights")));
        };
        let found = shape.get(axis).copied().filter(|n| *n > 0);
        found.ok_or_else(|| self.error(format!("tensor {name} has shape {shape:?}, which no such network has")))
    }

    /// Whether a tensor's name begins so.
    pub fn has(&self, prefix: &str) -> bool {
        self.shapes.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// How many places are numbered after this prefix: `down_blocks.` has `down_blocks.0.`, `down_blocks.1.`…
    pub fn count(&self, prefix: &str) -> usize {
        (0..self.shapes.len()).take_while(|i| self.has(&format!("{prefix}{i}."))).count()
    }

    /// An error about this network.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::broken(format!("{}: {message}", self.component))
    }
}
