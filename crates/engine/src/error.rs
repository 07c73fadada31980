//! The engine's one error: a kind, a sentence and a hint, ready to be sent as [`EngineError`].

use std::fmt::Display;

use easel_engine_protocol::{EngineError, EngineErrorKind};
use tch::TchError;

/// Why a job failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(EngineError);

/// A result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind; `message` is lower case, no full stop, what and which.
    pub fn new(kind: EngineErrorKind, message: impl Display) -> Self {
        Self(EngineError { kind, message: message.to_string(), hint: None })
    }

    /// The job asks for something that cannot be.
    pub fn invalid(message: impl Display) -> Self {
        Self::new(EngineErrorKind::InvalidRequest, message)
    }

    /// The model cannot be used.
    pub fn broken(message: impl Display) -> Self {
        Self::new(EngineErrorKind::ModelBroken, message)
    }

    /// A fault of the engine's own.
    pub fn internal(message: impl Display) -> Self {
        Self::new(EngineErrorKind::Internal, message)
    }

    /// Nobody waits for the job any more.
    pub fn cancelled() -> Self {
        Self::new(EngineErrorKind::Cancelled, "the job was cancelled")
    }

    /// libtorch reports everything as text; running out of memory is the one case that must be told apart.
    fn of_libtorch(text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default().to_owned();
        let lower = first.to_ascii_lowercase();
        if lower.contains("out of memory")
            || lower.contains("can't allocate memory")
            || lower.contains("not enough memory")
        {
            return Self::new(EngineErrorKind::OutOfMemory, "the device ran out of memory")
                .with_hint("ask for a smaller picture or fewer at once");
        }
        Self::internal(format!("libtorch: {first}"))
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Display) -> Self {
        self.0.hint = Some(hint.to_string());
        self
    }

    /// Puts the place before the message: `unet: conv_in.weight has shape …`.
    #[must_use]
    pub fn within(mut self, place: impl Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> EngineErrorKind {
        self.0.kind
    }

    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Self(error)
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        Self::of_libtorch(&error.to_string())
    }
}

impl From<torch_shim::Error> for Error {
    fn from(error: torch_shim::Error) -> Self {
        Self::of_libtorch(&error.to_string())
    }
}

impl From<easel_catalog::Error> for Error {
    fn from(error: easel_catalog::Error) -> Self {
        let kind = if error.is_not_found() { EngineErrorKind::ModelNotFound } else { EngineErrorKind::ModelBroken };
        Self::new(kind, error)
    }
}
