//! What is counted, for all vendors together and for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Requests for pictures that were read whole.
    pub hits: usize,
    /// Requests for pictures that are being answered.
    pub in_flight: usize,
    /// Requests for pictures whose client left before the answer was sent.
    pub abandoned: usize,
    /// Requests that buy nothing: lists of models, `getResponse` and the like.
    pub lookups: usize,
    /// Pictures that were fetched from their addresses.
    pub fetches: usize,
    /// Tasks that Runware worked on, and would be paid for.
    pub runs: usize,
    /// Open connections, busy or idle.
    pub live_connections: usize,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub hits: AtomicUsize,
    pub in_flight: AtomicUsize,
    pub abandoned: AtomicUsize,
    pub lookups: AtomicUsize,
    pub fetches: AtomicUsize,
    pub runs: AtomicUsize,
    pub live_connections: AtomicUsize,
}

impl Tally {
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        Counts {
            hits: read(&self.hits),
            in_flight: read(&self.in_flight),
            abandoned: read(&self.abandoned),
            lookups: read(&self.lookups),
            fetches: read(&self.fetches),
            runs: read(&self.runs),
            live_connections: read(&self.live_connections),
        }
    }

    /// Forgets what is over; what is happening now still counts.
    pub fn forget(&self) {
        for counter in [&self.hits, &self.abandoned, &self.lookups, &self.fetches, &self.runs] {
            counter.store(0, Ordering::SeqCst);
        }
    }
}

/// One more of something that is over at once.
pub(crate) fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// Counts as one for as long as it lives.
pub(crate) struct Counted {
    tally: Arc<Tally>,
    counter: fn(&Tally) -> &AtomicUsize,
}

impl Counted {
    pub fn new(tally: &Arc<Tally>, counter: fn(&Tally) -> &AtomicUsize) -> Self {
        count(counter(tally));
        Self { tally: Arc::clone(tally), counter }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.tally).fetch_sub(1, Ordering::SeqCst);
    }
}
