//! What travels beside a request on its way to a provider.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::container;
use crate::generation::{ModelKey, PartialImage};

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
    partials: Option<mpsc::Sender<PartialImage>>,
    /// The place of the first of its pictures among those of the whole turn.
    first: u32,
}

/// Which turn a call belongs to, for what a provider keeps from one attempt to the next. It does not keep the turn.
#[derive(Debug, Clone)]
pub struct Turn(Weak<AtomicU32>);

impl Turn {
    /// Whether nobody holds a call of it any more.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Call {
    /// A turn that has sent nothing yet.
    pub fn new(model: ModelKey, deadline: Instant, request_id: impl Into<String>) -> Self {
        Self { model, deadline, request_id: request_id.into(), sent: Arc::default(), partials: None, first: 0 }
    }

    /// The same turn, whose previews go to `partials`.
    #[must_use]
    pub fn with_partials(mut self, partials: mpsc::Sender<PartialImage>) -> Self {
        self.partials = Some(partials);
        self
    }

    /// The same turn for the part of its pictures that begins with this one.
    #[must_use]
    pub fn from_picture(&self, first: u32) -> Self {
        Self { first: self.first + first, ..self.clone() }
    }

    /// Whether anybody looks at previews.
    pub fn wants_partials(&self) -> bool {
        self.partials.as_ref().is_some_and(|partials| !partials.is_closed())
    }

    /// Shows a preview to whoever looks; one that comes faster than it is looked at, or that is not whole, is dropped.
    pub fn show_partial(&self, partial: PartialImage) {
        let is_whole = || container::walk_data(&partial.image.data).is_ok();
        if let Some(partials) = self.partials.as_ref().filter(|_| is_whole()) {
            let index = self.first + partial.index;
            let _ = partials.try_send(PartialImage { index, ..partial });
        }
    }

    /// Which turn it belongs to; clones belong to the same.
    pub fn turn(&self) -> Turn {
        Turn(Arc::downgrade(&self.sent))
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
