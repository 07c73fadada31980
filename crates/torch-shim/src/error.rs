//! What libtorch said went wrong.

/// What libtorch said went wrong, in its words; the first line says what, the rest where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);

/// A result of libtorch.
pub type Result<T, E = Error> = std::result::Result<T, E>;
