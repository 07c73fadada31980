//! Decide and do: which providers may make a picture, in which order, and what became of each.
//!
//! It asks providers through their trait only; it knows no HTTP status and no provider's name.

mod cache;
mod clock;
mod convert;
mod current;
mod embed;
mod error;
mod fallback;
mod flights;
mod health;
mod key;
mod registry;
mod router;
mod sizing;
mod watcher;
mod wishes;

#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock};
use std::time::Duration;

pub use cache::{CacheLimits, CacheOutcome};
pub use clock::SetBy;
pub use current::{CurrentStore, MemoryStore, StoreError};
pub use error::{Error, Remedy};
pub use health::{Happened, ProviderHealth};
pub use key::{Scope, fingerprint};
pub use registry::{Registered, Registry};
pub use watcher::{Sight, Watcher};

pub use crate::providers::layers::{BreakerState, Headroom};

use crate::generation::{Attempt, FallbackPolicy, Generation, GenerationRequest, ModelId, Target};
use crate::metrics::Metrics;
use cache::Cache;
use fallback::Chain;
use flights::Flights;
use health::Ledger;
use key::Sharing;
use router::Router;

/// What the configuration says about choosing: `[routing]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// The provider (id or alias) that leads when nothing is named.
    pub default_provider: Option<String>,
    /// The model that leads when nothing is named; its provider leads with it unless `default_provider` is set.
    pub default_model: Option<String>,
    /// What is done when the caller says nothing about falling back; absent: automatic when nothing was named, never
    /// when something was.
    pub fallback: Option<FallbackPolicy>,
    /// Soft wishes are hard for every request.
    pub strict: bool,
    /// The most that one request may take, over all its candidates but those with a deadline of their own.
    pub deadline: Duration,
}

/// What a request came to: the pictures, who made them, and how.
#[derive(Debug)]
pub struct Outcome {
    /// The pictures and what was ignored.
    pub generation: Generation,
    /// Who made them.
    pub model: ModelId,
    /// Whether they were made for this request.
    pub cache: CacheOutcome,
    /// Every candidate that was considered, in order.
    pub attempts: Vec<Attempt>,
    /// Whether a candidate after the first made them.
    pub fallback_used: bool,
    /// Whether falling back was allowed.
    pub fallback_policy: FallbackPolicy,
    /// Wall time in all.
    pub total: Duration,
    /// The part of it that was not spent waiting for providers.
    pub overhead: Duration,
}

/// The one way to a picture. Everything in it is shared by all requests.
pub struct Gateway {
    registry: Registry,
    routing: Routing,
    /// The process-wide current model, when one was chosen.
    chosen: RwLock<Option<ModelId>>,
    store: Box<dyn CurrentStore>,
    ledger: Arc<Ledger>,
    flights: Flights,
    metrics: Metrics,
}

impl Gateway {
    /// A gateway over these providers. The current model is taken from `store`; one that no longer exists is dropped.
    pub fn new(
        registry: Registry,
        routing: Routing,
        cache: CacheLimits,
        metrics: Metrics,
        store: Box<dyn CurrentStore>,
    ) -> Self {
        let chosen = store.load().and_then(|name| {
            let known = registry.find_id(&name);
            if known.is_none() {
                tracing::warn!(model = name, "the stored current model is not configured any more; the default leads");
            }
            known
        });
        let ledger = Arc::new(Ledger::new(registry.providers().len()));
        let flights = Flights::new(Cache::new(cache), Arc::clone(&ledger), metrics.clone());
        Self { registry, routing, chosen: RwLock::new(chosen), store, ledger, flights, metrics }
    }

    /// Makes the pictures of `request`, or says of every candidate why not; pictures that are kept or under way for
    /// the same request of the same `scope` will do where the request allows it. Dropping the future gives the work up
    /// unless somebody else waits for it, or it is to be finished.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn generate(
        &self,
        request: &GenerationRequest,
        request_id: &str,
        scope: &Scope,
    ) -> Result<Outcome, Error> {
        self.shown(request, request_id, scope, None).await
    }

    /// [`Self::generate`] while somebody looks on. They see previews of what is made for this request, where it wants
    /// some and the provider has any; of pictures that are kept, or under way for somebody else, there are none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn shown(
        &self,
        request: &GenerationRequest,
        request_id: &str,
        scope: &Scope,
        watcher: Option<Watcher>,
    ) -> Result<Outcome, Error> {
        let policy = self.router().policy(request);
        let candidates = self.router().candidates(&request.target, policy)?;
        let sharing = Sharing::of(request, scope);
        let (flights, routing) = (&self.flights, &self.routing);
        let outcome = Chain { flights, sharing, routing, policy, request, request_id, watcher }.run(candidates).await?;
        self.metrics.count_cache(outcome.cache.word());
        Ok(outcome)
    }

    /// Turns of providers that are under way, also those that nobody waits for.
    pub fn flights(&self) -> usize {
        self.flights.running()
    }

    /// Returns when no provider's turn is under way.
    pub async fn flights_idle(&self) {
        self.flights.idle().await;
    }

    /// Bytes of pictures that are kept for the same request again.
    pub fn cached_bytes(&self) -> u64 {
        self.flights.kept_bytes()
    }

    /// All providers, in priority order.
    pub fn providers(&self) -> &[Registered] {
        self.registry.providers()
    }

    /// What a request that names nothing would use now; `None` while nothing is available.
    pub fn current(&self) -> Option<ModelId> {
        let candidates = self.router().candidates(&Target::default(), FallbackPolicy::Auto).ok()?;
        candidates.into_iter().find(router::Candidate::is_usable).map(|candidate| candidate.model)
    }

    /// Makes `name` (a model key, `provider/key` or an alias) the current model and remembers it.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], [`Error::NotInstalled`], or [`Error::Internal`] when it cannot be remembered.
    pub fn set_current(&self, name: &str) -> Result<ModelId, Error> {
        let model = self.router().existing(name)?;
        self.store.save(&model.to_string()).map_err(|source| Error::Internal {
            message: "the current model could not be saved".to_owned(),
            source: Some(source),
        })?;
        *self.chosen.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(model.clone());
        Ok(model)
    }

    /// How each provider fares, in priority order. Asks nobody upstream.
    pub fn health(&self) -> Vec<ProviderHealth> {
        self.ledger.health(self.registry.providers())
    }

    /// What is wrong with `[routing]` given these providers: one sentence for each name that nothing answers to.
    pub fn routing_problems(&self) -> Vec<String> {
        self.router().problems()
    }

    fn router(&self) -> Router<'_> {
        let chosen = self.chosen.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Router { registry: &self.registry, routing: &self.routing, chosen }
    }
}
