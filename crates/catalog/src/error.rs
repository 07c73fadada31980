//! Why a model cannot be found or used; every variant names the file.

use std::io;
use std::path::{Path, PathBuf};

/// A result of the catalogue.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model cannot be found or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no model at the path.
    #[error("there is no model at {}: {missing} does not exist", .path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
        /// What is not there.
        missing: String,
    },
    /// The model names a file that does not exist.
    #[error("{} is missing: {why}", .path.display())]
    Missing {
        /// The file or folder that is not there.
        path: PathBuf,
        /// Who needs it.
        why: String,
    },
    /// The file ends before its header says it does.
    #[error("{} is truncated: {expected} bytes expected, {found} found", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header promises, itself included.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The file or folder breaks the rules of its format.
    #[error("{}: {reason}", .path.display())]
    Malformed {
        /// The file or folder.
        path: PathBuf,
        /// Which rule and where.
        reason: String,
    },
    /// The text that names a model cannot be read.
    #[error("model source `{source_text}`: {reason}")]
    Source {
        /// The text.
        source_text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl Error {
    /// Whether there is no model at all, as against one that cannot be used.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn missing(path: &Path, why: impl Into<String>) -> Self {
        Self::Missing { path: path.to_owned(), why: why.into() }
    }

    /// A file that does not open; `why` says who needs it.
    pub(crate) fn open(path: &Path, why: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            if error.kind() == io::ErrorKind::NotFound { Self::missing(path, why) } else { Self::io(path)(error) }
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
