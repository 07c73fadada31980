//! Where models are looked for, and what comes of it.

use std::path::{Path, PathBuf};

use easel_engine_protocol::ModelSource;

use crate::generation::ImageSize;

/// Where models are looked for.
pub(super) struct Library<'a> {
    /// Folders, in order.
    pub roots: &'a [PathBuf],
    /// The hub's cache, which other programs fill.
    pub hub_cache: Option<&'a Path>,
}

/// Whether a declared model is here.
pub(super) enum Found {
    /// It can be used.
    Here(Here),
    /// It cannot.
    Absent {
        /// What is missing or broken.
        detail: String,
        /// What brings it here.
        remedy: String,
    },
}

/// A model that can be used.
pub(super) struct Here {
    /// Where it lies and how it is driven.
    pub source: ModelSource,
    /// The size that it was made for.
    pub size: ImageSize,
    /// What its files are.
    pub digest: String,
}
