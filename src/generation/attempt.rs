//! What became of one candidate.

use std::time::Duration;

use super::ModelId;

/// One candidate that was considered, in order: the truth that the answer, the headers and the log share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which provider and which of its models.
    pub model: ModelId,
    /// What became of it.
    pub outcome: AttemptOutcome,
    /// A category (`timeout`, `rate_limited`, `no_key`, …), never upstream text; `None` when it succeeded.
    pub reason: Option<String>,
    /// Upstream calls made, the first included.
    pub calls: u32,
    /// Wall time spent on it.
    pub duration: Duration,
}

/// How a candidate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It made the pictures.
    Ok,
    /// It was asked and did not.
    Failed,
    /// `is_available` said no, so it was not asked.
    Unavailable,
    /// It cannot honour a hard wish, so it was not asked.
    Skipped,
}
