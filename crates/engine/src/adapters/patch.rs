//! What an adapter does to one tensor.

use std::ops::Range;

use super::change::{Change, Stored};

/// One change of one tensor.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    /// Which file it is from.
    pub file: usize,
    /// The change.
    pub change: Change,
    /// What it is multiplied by.
    pub scale: f64,
    /// The rows of the change that are this tensor's, where it is one of several that are fused.
    pub rows: Option<Range<i64>>,
    /// Whether the halves of the rows lie the other way round.
    pub swapped: bool,
    /// To which lengths the weight is brought after the change (`DoRA`).
    pub magnitude: Option<Magnitude>,
}

/// The lengths that `DoRA` brings a weight to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Magnitude {
    /// One number for each row or column.
    pub stored: Stored,
    /// Whether it is columns, those of one input, and not rows.
    pub by_input: bool,
}
