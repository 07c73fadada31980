//! What of a stored tensor is meant.

use std::ops::Range;

/// How a tensor follows from what is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it is written.
    Whole,
    /// These rows of it: queries, keys or values of a fused projection.
    Rows(Range<u64>),
    /// These rows of it, in this order: halves that others write the other way round.
    Joined(Vec<Range<u64>>),
    /// A matrix, turned over.
    Transposed,
    /// The same elements in this shape: a 1×1 convolution that is a matrix.
    Reshaped(Vec<u64>),
}

impl Form {
    /// The shape of the tensor, outermost first, where what is written has the shape `stored`.
    pub fn shape_of(&self, stored: &[u64]) -> Vec<u64> {
        let mut shape = stored.to_vec();
        let rows = |range: &Range<u64>| range.end.saturating_sub(range.start);
        let first = match self {
            Self::Whole => None,
            Self::Rows(range) => Some(rows(range)),
            Self::Joined(ranges) => Some(ranges.iter().map(rows).fold(0, u64::saturating_add)),
            Self::Transposed => {
                shape.reverse();
                None
            }
            Self::Reshaped(wanted) => {
                shape.clone_from(wanted);
                None
            }
        };
        if let (Some(rows), Some(first)) = (first, shape.first_mut()) {
            *first = rows;
        }
        shape
    }
}
