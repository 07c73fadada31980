//! What the engine says when a job fails.

use serde::{Deserialize, Serialize};

/// A failed job: a kind for machines, a sentence for people and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    /// What sort of failure this is.
    pub kind: EngineErrorKind,
    /// What happened and to which thing; lower case, no full stop.
    pub message: String,
    /// What to do about it, where something can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The sorts of failure; closed, so that every reader handles all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineErrorKind {
    /// The job asks for something that cannot be (a size, a step count, an unknown scheduler).
    InvalidRequest,
    /// There is no model at the path.
    ModelNotFound,
    /// The model is there but cannot be used: a missing shard, a wrong shape, a truncated file, a setting not honoured.
    ModelBroken,
    /// The device asked for is not there.
    DeviceUnavailable,
    /// Host or device memory ran out.
    OutOfMemory,
    /// Too many jobs wait, or the engine is shutting down; nothing was begun.
    Overloaded,
    /// Nobody waited for the picture any more.
    Cancelled,
    /// A fault of the engine's own.
    Internal,
}
