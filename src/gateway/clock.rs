//! How long a request and each of its turns may take. Arithmetic on tokio's clock, which tests can stop.

use std::time::Duration;

use tokio::time::Instant;

use super::router::Candidate;
use crate::generation::ProviderId;

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBy {
    /// The request said how long it would wait.
    Request,
    /// `[routing] deadline`.
    Routing,
    /// The provider has a deadline of its own.
    Provider(ProviderId),
}

/// The time of one request.
pub(super) struct Clock {
    started: Instant,
    /// What the request allows.
    timeout: Option<Duration>,
    /// What all turns may take together, but for those with a deadline of their own.
    deadline: Duration,
    /// What those have taken: the others have their time whether one of those stood before them or not.
    apart: Duration,
}

/// When a turn must be done.
#[derive(Debug)]
pub(super) struct Limits {
    /// For the caller.
    pub waiting: Instant,
    /// For work that goes on without the caller.
    pub work: Instant,
    /// What the caller's limit is.
    pub limit: Duration,
    /// Whose it is.
    pub set_by: SetBy,
}

impl Clock {
    /// Starts now.
    pub(super) fn start(timeout: Option<Duration>, deadline: Duration) -> Self {
        Self { started: Instant::now(), timeout, deadline, apart: Duration::ZERO }
    }

    /// Since the request began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The limits of a turn that begins now.
    pub(super) fn limits(&self, candidate: &Candidate) -> Limits {
        let (work, limit, set_by) = match candidate.deadline {
            Some(own) => (Instant::now() + own, own, SetBy::Provider(candidate.model.provider.clone())),
            None => (self.started + self.apart + self.deadline, self.deadline, SetBy::Routing),
        };
        match self.timeout.map(|timeout| (timeout, self.started + timeout)) {
            Some((limit, waiting)) if waiting < work => Limits { waiting, work, limit, set_by: SetBy::Request },
            Some(_) | None => Limits { waiting: work, work, limit, set_by },
        }
    }

    /// The candidate's turn took this long.
    pub(super) fn note(&mut self, candidate: &Candidate, took: Duration) {
        if candidate.deadline.is_some() {
            self.apart += took;
        }
    }
}
