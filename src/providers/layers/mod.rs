//! What every provider gets: each layer is itself a provider, and their order stands in [`wrap`].

mod retry;
mod split;
mod timeout;
mod whole;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Built, Policy, Provider};
use crate::generation::ProviderId;
use retry::Retry;
use split::Split;
use timeout::Timeout;
use whole::Whole;

/// Puts `provider` into its layers.
///
/// From the outside in:
/// * *Split* first, so that every part of a large count is retried by itself and finished parts are kept;
/// * *Retry* around *Timeout*, so that the limit is each attempt's and not that of all of them;
/// * *Whole* innermost, so that an answer with broken pictures is a failure that the others see.
pub fn wrap(_id: &ProviderId, built: Built, policy: &Policy) -> Wrapped {
    let whole = Arc::new(Whole::new(built.first));
    let timeout = Arc::new(Timeout::new(whole, policy.timeout));
    let retry = Arc::new(Retry::new(timeout, policy));
    Wrapped { provider: Arc::new(Split::new(retry)), gauges: Arc::default() }
}

/// A provider in its layers, and what they know beside its answers.
pub struct Wrapped {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// What the health route shows of the layers.
    pub gauges: Arc<Gauges>,
}

/// What the layers of one provider know: read at any time, never waited for.
#[derive(Debug, Default)]
pub struct Gauges {}
