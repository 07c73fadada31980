//! The tensors of one or several files, looked up by name.

use std::collections::HashMap;

use crate::{TensorFile, TensorInfo};

/// All tensors of a model.
pub(super) struct Names<'f> {
    by_name: HashMap<&'f str, &'f TensorInfo>,
    /// Sorted: what is found first is the same every time.
    sorted: Vec<&'f str>,
}

impl<'f> Names<'f> {
    pub fn of(files: &[&'f TensorFile]) -> Self {
        let by_name: HashMap<&str, &TensorInfo> =
            files.iter().flat_map(|file| &file.tensors).map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut sorted: Vec<&str> = by_name.keys().copied().collect();
        sorted.sort_unstable();
        Self { by_name, sorted }
    }

    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &'f str> + '_ {
        self.sorted.iter().copied()
    }

    pub fn tensor(&self, name: &str) -> Option<&'f TensorInfo> {
        self.by_name.get(name).copied()
    }

    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub fn has_in(&self, prefix: &str, name: &str) -> bool {
        self.has(&format!("{prefix}{name}"))
    }

    /// The shape of a tensor; empty where there is none.
    pub fn shape(&self, prefix: &str, name: &str) -> &'f [u64] {
        self.tensor(&format!("{prefix}{name}")).map_or(&[], |tensor| tensor.shape.as_slice())
    }

    /// One axis of a tensor.
    pub fn axis(&self, prefix: &str, name: &str, axis: usize) -> Option<u64> {
        self.shape(prefix, name).get(axis).copied()
    }

    /// The names that begin so, sorted.
    pub fn with_prefix<'n>(&'n self, prefix: &'n str) -> impl Iterator<Item = &'f str> + 'n {
        let start = self.sorted.partition_point(|name| *name < prefix);
        let rest = self.sorted.get(start..).unwrap_or_default();
        rest.iter().copied().take_while(move |name| name.starts_with(prefix))
    }

    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.with_prefix(prefix).next().is_some()
    }

    /// The first name under `prefix` that ends with `suffix`, and its shape.
    pub fn ending(&self, prefix: &str, suffix: &str) -> Option<(&'f str, &'f [u64])> {
        let name = self.with_prefix(prefix).find(|name| name.ends_with(suffix))?;
        Some((name, self.shape("", name)))
    }

    /// What stands before `suffix` in every name that ends with it.
    pub fn prefixes_of<'n>(&'n self, suffix: &'n str) -> impl Iterator<Item = &'f str> + 'n {
        self.iter().filter_map(move |name| name.strip_suffix(suffix))
    }

    /// One more than the highest number that follows `prefix`.
    pub fn count(&self, prefix: &str) -> u64 {
        let numbers = self.with_prefix(prefix).filter_map(|name| {
            let rest = name.get(prefix.len()..)?;
            rest.split('.').next()?.parse::<u64>().ok()
        });
        numbers.max().map_or(0, |highest| highest.saturating_add(1))
    }
}
