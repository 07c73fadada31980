//! What every provider gets: each layer is itself a provider, and their order stands in [`wrap`].

mod retry;
mod split;
mod timeout;
mod whole;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Policy, Provider};
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
pub fn wrap(provider: Arc<dyn Provider>, policy: &Policy) -> Arc<dyn Provider> {
    let whole = Arc::new(Whole::new(provider));
    let timeout = Arc::new(Timeout::new(whole, policy.timeout));
    let retry = Arc::new(Retry::new(timeout, policy));
    Arc::new(Split::new(retry))
}
