//! What the header of a file of weights says, whichever container it is written in, and how much may be said.

use std::collections::BTreeMap;

use crate::tensor_type::TensorType;

/// The most tensors in one file.
pub const MAX_TENSORS: usize = 50_000;

/// Where a tensor lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: TensorType,
    /// Its shape, outermost first; empty for a scalar.
    pub shape: Vec<u64>,
    /// Elements from one index of an axis to the next, one number for each axis; `None` where the elements lie in order
    /// without gaps.
    pub strides: Option<Vec<u64>>,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Bytes from the first element to the end of the last.
    pub len: u64,
}

/// What a container's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub tensors: Vec<TensorInfo>,
    pub metadata: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}
