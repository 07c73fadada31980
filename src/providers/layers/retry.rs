//! The same provider again: as often as the policy says, and only after failures that may pass.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest};
use crate::metrics::ProviderMetrics;
use crate::providers::{Call, Error, Policy, Provider, Recovery};

/// No doubling goes past this many: the pause is long over any limit by then.
const MAX_DOUBLINGS: u32 = 16;

/// Repeats an attempt after a pause.
pub(super) struct Retry {
    inner: Arc<dyn Provider>,
    attempts: u32,
    backoff: Duration,
    /// A pause longer than an attempt may last is an outage: the next provider is asked instead.
    longest_pause: Duration,
    metrics: ProviderMetrics,
}

impl Retry {
    pub(super) fn new(inner: Arc<dyn Provider>, policy: &Policy, metrics: ProviderMetrics) -> Self {
        let attempts = policy.attempts.max(1);
        Self { inner, attempts, backoff: policy.backoff, longest_pause: policy.timeout, metrics }
    }

    /// The pause after failed attempt number `attempt` (from 1): from half to the whole of the doubled backoff, so that
    /// callers that failed together do not come back together; never less than the provider asks. Another key need not
    /// wait for what one was told.
    fn pause(&self, attempt: u32, error: &Error) -> Duration {
        if error.has_another_key() {
            return Duration::ZERO;
        }
        let whole = self.backoff.saturating_mul(1 << (attempt - 1).min(MAX_DOUBLINGS));
        let jittered = whole.mul_f64(0.5 + random_fraction() / 2.0);
        error.retry_after().map_or(jittered, |asked| asked.max(jittered))
    }
}

/// A number from 0 to 1 that need not be secret.
fn random_fraction() -> f64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[async_trait]
impl Provider for Retry {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let mut attempt = 1;
        let mut earlier: Option<Error> = None;
        loop {
            let sent_before = call.upstream_calls();
            let error = match self.inner.generate(request, call).await {
                Ok(generation) => return Ok(generation),
                Err(error) => error,
            };
            // An attempt that a layer held back asked nobody: what the provider said last is the truth.
            let was_asked = call.upstream_calls() > sent_before;
            if let Some(earlier) = earlier.take().filter(|_| error.is_held_back() && !was_asked) {
                return Err(earlier);
            }
            let may_pass = match error.recovery() {
                Recovery::Retry => true,
                Recovery::NextProvider | Recovery::Final => false,
            };
            if !may_pass || attempt >= self.attempts {
                return Err(error);
            }
            let pause = self.pause(attempt, &error);
            if pause > self.longest_pause || pause >= call.remaining() {
                return Err(error);
            }
            earlier = Some(error);
            tokio::time::sleep(pause).await;
            attempt += 1;
            self.metrics.count_retry();
        }
    }
}
