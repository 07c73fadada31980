//! Repeated failures hold requests back, so that a provider that is down costs nobody time. Whether it is up again is
//! found out by one real request: nothing is ever asked for that nobody wants.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::circuit::{BreakerState, Circuit, Turned, Verdict};
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ProviderId};
use crate::metrics::ProviderMetrics;
use crate::providers::{Call, Error, ErrorKind, Provider};

/// Refuses requests while its circuit is open.
pub(super) struct Breaker {
    inner: Arc<dyn Provider>,
    id: ProviderId,
    circuit: Arc<Circuit>,
    /// The limit of an attempt: what ends earlier for lack of time was the caller's haste.
    timeout: Duration,
    metrics: ProviderMetrics,
}

impl Breaker {
    pub(super) fn new(
        inner: Arc<dyn Provider>,
        id: ProviderId,
        circuit: Arc<Circuit>,
        timeout: Duration,
        metrics: ProviderMetrics,
    ) -> Self {
        Self { inner, id, circuit, timeout, metrics }
    }

    /// What the end of a call that took this long says about the provider.
    fn verdict(&self, error: &Error, call: &Call, took: Duration) -> Verdict {
        if error.is_held_back() || error.has_another_key() {
            return Verdict::Nothing;
        }
        let in_haste = took < self.timeout && call.remaining().is_zero();
        let asked = error.retry_after();
        match error.kind() {
            // It answered, and sensibly.
            ErrorKind::InvalidRequest
            | ErrorKind::ContentRejected
            | ErrorKind::Unsupported
            | ErrorKind::ModelNotFound
            | ErrorKind::OutOfMemory => Verdict::Alive,
            ErrorKind::RateLimited => Verdict::Limited(asked),
            ErrorKind::Timeout if in_haste => Verdict::Nothing,
            ErrorKind::Unauthorized
            | ErrorKind::QuotaExhausted
            | ErrorKind::Timeout
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::NoImage
            | ErrorKind::Protocol => Verdict::Failed(asked),
            ErrorKind::Internal => Verdict::Nothing,
        }
    }
}

#[async_trait]
impl Provider for Breaker {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        let remedy = "wait, and look into the log for what fails".to_owned();
        match (self.inner.is_available(), self.circuit.state()) {
            (Availability::Available, BreakerState::Open(left)) => Availability::Unavailable {
                reason: "breaker_open",
                detail: format!("repeated failures hold requests back for {} s", super::whole_seconds(left)),
                remedy,
            },
            (Availability::Available, BreakerState::Probing) => Availability::Unavailable {
                reason: "probing",
                detail: "repeated failures hold requests back until one that is on its way has succeeded".to_owned(),
                remedy,
            },
            (inner, _) => inner,
        }
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let pass = self.circuit.enter().map_err(|left| {
            Error::new(ErrorKind::Unavailable, "the provider failed repeatedly and is not asked for a while")
                .with_retry_after(Some(left))
                .held_back()
        })?;
        let started = Instant::now();
        let result = self.inner.generate(request, call).await;
        let verdict = match &result {
            Ok(_) => Verdict::Alive,
            Err(error) => self.verdict(error, call, started.elapsed()),
        };
        match pass.settle(verdict) {
            Turned::Not => result,
            // Whoever would repeat it need not come here to learn that.
            Turned::IsOpen => result.map_err(Error::held_back),
            Turned::Opened(pause) => {
                let seconds = super::whole_seconds(pause);
                tracing::warn!(provider = %self.id, seconds, "repeated failures hold requests back");
                self.metrics.count_opened();
                result.map_err(Error::held_back)
            }
            Turned::Closed => {
                tracing::info!(provider = %self.id, "requests go through again");
                result
            }
        }
    }
}
