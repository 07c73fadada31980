//! What travels beside a request on its way to a provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::generation::ModelKey;

/// The circumstances of one candidate's turn: which model, until when, and how many upstream calls were made.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which of the provider's models.
    pub model: ModelKey,
    /// When the whole chain must be done, on tokio's clock, which tests can stop.
    pub deadline: Instant,
    /// The caller's request id, to be passed upstream where that is possible.
    pub request_id: String,
    sent: Arc<AtomicU32>,
}

impl Call {
    /// A turn that has sent nothing yet.
    pub fn new(model: ModelKey, deadline: Instant, request_id: impl Into<String>) -> Self {
        Self { model, deadline, request_id: request_id.into(), sent: Arc::default() }
    }

    /// Counts one upstream call; a provider says so right before it sends. Clones share the count.
    pub fn count_upstream_call(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Upstream calls counted so far.
    pub fn upstream_calls(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Time left until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
