//! Figures for a monitoring system: counted where things happen, read by `GET /metrics`. Each process, and each test,
//! has its own; nothing here is global.
//!
//! A label is a provider's id, a configured model's key, a route's pattern or a word of a closed list: never anything
//! that a caller or an upstream wrote.

mod http;
mod provider;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use http::HttpTurn;
pub use provider::{ProviderMetrics, Turn};

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of a model that the configuration does not list.
pub const OTHER: &str = "other";

/// Everything that is counted. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    providers: provider::Families,
    http: http::Families,
    cache: Family<CacheLabels, Counter>,
    flights: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: &'static str,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("easel");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", build);
        let providers = provider::Families::register(&mut registry);
        let http = http::Families::register(&mut registry);
        let cache = Family::default();
        registry.register("cache_results", "Looks into the cache of pictures, by what came of them", cache.clone());
        let flights = Gauge::default();
        registry.register("flights", "Turns of providers that are under way, waited for or not", flights.clone());
        Self(Arc::new(Inner { registry: Mutex::new(registry), providers, http, cache, flights }))
    }

    /// The figures of one provider.
    pub fn provider(&self, id: &str) -> ProviderMetrics {
        ProviderMetrics::new(&self.0.providers, id)
    }

    /// A request that was received for this route, by its pattern; `None` where there is no such route.
    pub fn http(&self, route: Option<String>) -> HttpTurn {
        HttpTurn::new(&self.0.http, route.unwrap_or_else(|| OTHER.to_owned()))
    }

    /// Counts a look into the cache: `hit`, `miss`, `coalesced` or another word of the cache's own closed list.
    pub fn count_cache(&self, result: &'static str) {
        self.0.cache.get_or_create(&CacheLabels { result }).inc();
    }

    /// So many turns of providers are under way.
    pub fn set_flights(&self, running: usize) {
        self.0.flights.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    /// All of it as text, in the format that [`CONTENT_TYPE`] names.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
