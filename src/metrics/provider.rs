//! What is counted of each provider.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

/// Seconds that pictures take: from the fastest cloud to a large model on a processor.
const PICTURE: [f64; 13] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0];
/// Seconds that a request waits for its turn.
const WAIT: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What a turn is called that was given up before it came to anything.
const CANCELLED: &str = "cancelled";

type Dollars = Counter<f64, AtomicU64>;

#[derive(Clone)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

#[derive(Clone)]
pub(super) struct Families {
    requests: Family<OutcomeLabels, Counter>,
    calls: Family<ModelLabels, Counter>,
    duration: Family<ModelLabels, Histogram, Buckets>,
    cost: Family<ModelLabels, Dollars>,
    in_flight: Family<Labels, Gauge>,
    retries: Family<Labels, Counter>,
    wait: Family<Labels, Histogram, Buckets>,
    opened: Family<Labels, Counter>,
    breaker: Family<Labels, Gauge>,
    available: Family<Labels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    provider: String,
    model: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    provider: String,
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    provider: String,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self {
            requests: Family::default(),
            calls: Family::default(),
            duration: Family::new_with_constructor(Buckets(&PICTURE)),
            cost: Family::default(),
            in_flight: Family::default(),
            retries: Family::default(),
            wait: Family::new_with_constructor(Buckets(&WAIT)),
            opened: Family::default(),
            breaker: Family::default(),
            available: Family::default(),
        };
        let help = "Turns of a provider: ok, the category of the failure, or cancelled";
        registry.register("provider_requests", help, all.requests.clone());
        registry.register("provider_upstream_calls", "Calls that were sent upstream", all.calls.clone());
        let help = "Time of a provider's turn, with its pauses and repetitions";
        registry.register_with_unit("provider_request_duration", help, Unit::Seconds, all.duration.clone());
        registry.register("provider_cost_usd", "What pictures cost, in US dollars", all.cost.clone());
        registry.register("provider_requests_in_flight", "Turns that last", all.in_flight.clone());
        registry.register("provider_retries", "Attempts after the first of a turn", all.retries.clone());
        let help = "Time that an attempt waited for its turn under the provider's own limits";
        registry.register_with_unit("provider_wait", help, Unit::Seconds, all.wait.clone());
        let help = "Times that repeated failures began to hold requests back";
        registry.register("provider_breaker_opened", help, all.opened.clone());
        let help = "Whether repeated failures hold requests back: 0 closed, 1 half open, 2 open";
        registry.register("provider_breaker_state", help, all.breaker.clone());
        registry.register("provider_available", "Whether it can make a picture now", all.available.clone());
        all
    }
}

/// The figures of one provider. Clones count together.
#[derive(Clone)]
pub struct ProviderMetrics {
    families: Families,
    provider: String,
    retries: Counter,
    wait: Histogram,
    opened: Counter,
    in_flight: Gauge,
}

impl ProviderMetrics {
    pub(super) fn new(families: &Families, id: &str) -> Self {
        let labels = Labels { provider: id.to_owned() };
        Self {
            retries: families.retries.get_or_create(&labels).clone(),
            wait: families.wait.get_or_create(&labels).clone(),
            opened: families.opened.get_or_create(&labels).clone(),
            in_flight: families.in_flight.get_or_create(&labels).clone(),
            families: families.clone(),
            provider: labels.provider,
        }
    }

    /// A turn that begins. `model` is a key that the configuration lists, or [`super::OTHER`].
    pub fn begin(&self, model: &str) -> Turn {
        self.in_flight.inc();
        Turn { of: self.clone(), model: model.to_owned(), outcome: CANCELLED, started: Instant::now() }
    }

    /// Counts calls that were sent upstream for `model` (as in [`ProviderMetrics::begin`]).
    pub fn count_calls(&self, model: &str, calls: u32) {
        self.families.calls.get_or_create(&self.with_model(model)).inc_by(u64::from(calls));
    }

    /// Counts what a picture of `model` (as in [`ProviderMetrics::begin`]) cost, in US dollars.
    pub fn count_cost(&self, model: &str, usd: f64) {
        if usd.is_finite() && usd >= 0.0 {
            self.families.cost.get_or_create(&self.with_model(model)).inc_by(usd);
        }
    }

    /// Counts an attempt after the first.
    pub fn count_retry(&self) {
        self.retries.inc();
    }

    /// Notes that an attempt waited so long for its turn.
    pub fn note_wait(&self, waited: Duration) {
        self.wait.observe(waited.as_secs_f64());
    }

    /// Counts that the breaker opened.
    pub fn count_opened(&self) {
        self.opened.inc();
    }

    /// Notes whether it can make a picture now.
    pub fn set_available(&self, available: bool) {
        self.families.available.get_or_create(&self.labels()).set(i64::from(available));
    }

    /// Notes how its breaker stands: 0 closed, 1 half open, 2 open.
    pub fn set_breaker(&self, level: i64) {
        self.families.breaker.get_or_create(&self.labels()).set(level);
    }

    fn labels(&self) -> Labels {
        Labels { provider: self.provider.clone() }
    }

    fn with_model(&self, model: &str) -> ModelLabels {
        ModelLabels { provider: self.provider.clone(), model: model.to_owned() }
    }
}

/// A provider's turn that lasts; one that is dropped before it ended is counted as cancelled.
pub struct Turn {
    of: ProviderMetrics,
    model: String,
    outcome: &'static str,
    started: Instant,
}

impl Turn {
    /// It ended: `ok`, or the category of its failure.
    pub fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.in_flight.dec();
        let labels = self.of.with_model(&self.model);
        self.of.families.duration.get_or_create(&labels).observe(self.started.elapsed().as_secs_f64());
        let ModelLabels { provider, model } = labels;
        self.of.families.requests.get_or_create(&OutcomeLabels { provider, model, outcome: self.outcome }).inc();
    }
}
