//! What every provider gets: each layer is itself a provider, and their order stands in [`wrap`].

mod breaker;
mod circuit;
mod cost;
mod gauges;
mod keys;
mod limit;
mod measured;
mod rate;
mod retry;
mod split;
mod timeout;
mod whole;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use circuit::BreakerState;
pub use gauges::Gauges;
pub use limit::Headroom;

use super::{Built, ModelPrices, Policy, Provider};
use crate::generation::ProviderId;
use crate::metrics::ProviderMetrics;
use breaker::Breaker;
use circuit::Circuit;
use cost::Cost;
use keys::Keys;
use limit::{Gate, Limit};
use measured::Measured;
use retry::Retry;
use split::Split;
use timeout::Timeout;
use whole::Whole;

/// A provider in its layers, and what they know beside its answers.
pub struct Wrapped {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// What the health route shows of the layers.
    pub gauges: Arc<Gauges>,
}

/// Puts a provider into its layers.
///
/// From the outside in:
/// * *Measured* first, so that a turn is one turn to the figures, whatever it takes;
/// * *Cost* outside *Split*, once for all parts: prices are per picture or per token, so that the price of the sum is the
///   sum of the prices, and what one part lacks (a count, a bill) makes the whole unknown instead of too small;
/// * *Split* around *Retry*, so that every part of a large count is repeated by itself and finished parts are kept;
/// * *Retry* around all that says whether an attempt may be made, so that each attempt asks anew;
/// * *Limit* outside *Timeout*, so that waiting for one's turn takes nothing from an attempt's time, and outside
///   *Breaker*, so that a request that waited while the provider failed is still held back, and so that our own limits
///   are no failures of the provider;
/// * *Breaker* around *Timeout*, so that a provider that hangs counts as failing;
/// * *Timeout* around *Keys*, so that the limit is each attempt's, whichever key it uses: another key is another attempt;
/// * *Keys* around *Whole*, once for each key;
/// * *Whole* innermost, so that an answer with broken pictures is a failure that the others see.
///
/// A layer whose policy asks nothing of it is left out.
pub fn wrap(id: &ProviderId, built: Built, policy: &Policy, prices: ModelPrices, metrics: &ProviderMetrics) -> Wrapped {
    let Built { first, others } = built;
    let whole = |provider| Arc::new(Whole::new(provider)) as Arc<dyn Provider>;
    let built = Built { first: whole(first), others: others.into_iter().map(whole).collect() };
    let keys = Keys::new(id.clone(), built);
    let ring = keys.ring();
    let mut provider: Arc<dyn Provider> = Arc::new(Timeout::new(Arc::new(keys), id.clone(), policy.timeout));

    let circuit = (policy.breaker.failures > 0).then(|| Arc::new(Circuit::new(policy.breaker.clone())));
    if let Some(circuit) = &circuit {
        let circuit = Arc::clone(circuit);
        provider = Arc::new(Breaker::new(provider, id.clone(), circuit, policy.timeout, metrics.clone()));
    }
    let gate = Arc::new(Gate::new(policy));
    if !gate.is_open() {
        provider = Arc::new(Limit::new(provider, Arc::clone(&gate), metrics.clone()));
    }
    let retry = Arc::new(Retry::new(provider, policy, metrics.clone()));
    let split = Arc::new(Split::new(retry));
    let measured = Arc::new(Measured::new(Arc::new(Cost::new(split, prices)), metrics.clone()));
    Wrapped { provider: measured, gauges: Arc::new(Gauges { circuit, gate: Some(gate), ring: Some(ring) }) }
}

/// Seconds for people: rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
