//! How fast and how many at once a provider is asked. Who comes first goes first; who would wait too long is refused
//! without a call.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::rate::Rate;
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest};
use crate::metrics::ProviderMetrics;
use crate::providers::{Call, Error, ErrorKind, Policy, Provider};

/// When a request that found every place taken may come back: nobody knows better.
const PLACES_TAKEN: Duration = Duration::from_secs(1);

/// Holds requests until it is their turn.
pub(super) struct Limit {
    inner: Arc<dyn Provider>,
    gate: Arc<Gate>,
    metrics: ProviderMetrics,
}

/// What requests of one provider wait at.
#[derive(Debug)]
pub(super) struct Gate {
    rate: Option<Rate>,
    places: Option<Places>,
    max_wait: Duration,
}

/// Room for so many calls at once.
#[derive(Debug)]
struct Places {
    all: NonZeroU32,
    free: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// What is left of a provider's limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headroom {
    /// Upstream calls that a minute may have; `None`: any number.
    pub requests_per_minute: Option<u32>,
    /// Calls that could be made at once now, under that limit.
    pub requests_left: Option<u32>,
    /// Upstream calls that may be in flight; `None`: any number.
    pub max_concurrent: Option<u32>,
    /// How many more could be in flight now, under that limit.
    pub places_left: Option<u32>,
    /// Requests that wait for their turn.
    pub waiting: u32,
    /// Keys that take turns.
    pub keys: u32,
    /// Keys that rest because the provider refused or limited them.
    pub keys_resting: u32,
}

impl Gate {
    pub(super) fn new(policy: &Policy) -> Self {
        let places = NonZeroU32::new(policy.max_concurrent).map(|all| {
            let permits = usize::try_from(all.get()).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Places { all, free: Arc::new(Semaphore::new(permits)), waiting: AtomicU32::new(0) }
        });
        let rate = NonZeroU32::new(policy.requests_per_minute).map(|per_minute| Rate::new(per_minute, policy.burst));
        Self { rate, places, max_wait: policy.max_wait }
    }

    /// Whether it holds nobody up.
    pub(super) fn is_open(&self) -> bool {
        self.rate.is_none() && self.places.is_none()
    }

    /// What is left of the limits; the keys are somebody else's.
    pub(super) fn headroom(&self) -> Headroom {
        let rate = self.rate.as_ref().map(Rate::left);
        let places = self.places.as_ref();
        let waiting = places.map_or(0, |places| places.waiting.load(Ordering::Relaxed));
        Headroom {
            requests_per_minute: self.rate.as_ref().map(|rate| rate.per_minute().get()),
            requests_left: rate.map(|left| left.calls),
            max_concurrent: places.map(|places| places.all.get()),
            places_left: places.map(|places| u32::try_from(places.free.available_permits()).unwrap_or(u32::MAX)),
            waiting: waiting.saturating_add(rate.map_or(0, |left| left.waiting)),
            ..Headroom::default()
        }
    }

    /// Waits for a turn; what is returned holds a place until it is dropped.
    async fn pass(&self, call: &Call) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let until = (Instant::now() + self.max_wait).min(call.deadline);
        // First the place and then the turn: a turn that was taken cannot be given back.
        let place = match &self.places {
            Some(places) => Some(places.take(until).await?),
            None => None,
        };
        if let Some(rate) = &self.rate {
            rate.turn(until).await.map_err(|wait| {
                let limit = rate.per_minute();
                Error::new(ErrorKind::RateLimited, format!("the provider is asked {limit} times a minute at most"))
                    .with_hint("requests_per_minute and max_wait in the provider's policy set the limit")
                    .with_retry_after(Some(wait))
                    .held_back()
            })?;
        }
        Ok(place)
    }
}

impl Places {
    async fn take(&self, until: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let _waiting = Waiting::among(&self.waiting);
        // It is never closed: what else can fail is the wait.
        let place = timeout_at(until, Arc::clone(&self.free).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or_else(|| {
            let most = self.all;
            Error::new(ErrorKind::Overloaded, format!("the provider is asked {most} things at once at most"))
                .with_hint("max_concurrent and max_wait in the provider's policy set the limit")
                .with_retry_after(Some(PLACES_TAKEN))
                .held_back()
        })
    }
}

/// One that waits, counted for as long as it does.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn among(all: &'a AtomicU32) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limit {
    pub(super) fn new(inner: Arc<dyn Provider>, gate: Arc<Gate>, metrics: ProviderMetrics) -> Self {
        Self { inner, gate, metrics }
    }
}

#[async_trait]
impl Provider for Limit {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let started = Instant::now();
        let passed = self.gate.pass(call).await;
        let waited = started.elapsed();
        // To the figures, a moment is no wait.
        if waited >= Duration::from_millis(1) {
            self.metrics.note_wait(waited);
        }
        let _place = passed?;
        self.inner.generate(request, call).await
    }
}
