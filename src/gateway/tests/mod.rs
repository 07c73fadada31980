//! The gateway over scripted providers, on a stopped clock.

mod cache;
mod convert;
mod fallback;
mod flights;
mod keys;
mod router;
mod router_properties;
mod sizing;
mod wishes;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::{CacheLimits, Gateway, MemoryStore, Registered, Registry, Routing};
use crate::generation::{Attempt, AttemptOutcome, ImageSize, OnDisconnect, ProviderId, Target};
use crate::metrics::Metrics;
use crate::providers::Provider;
use crate::providers::scripted::Scripted;

/// What `[routing]` says when it says nothing.
fn routing() -> Routing {
    Routing {
        default_provider: None,
        default_model: None,
        fallback: None,
        strict: false,
        deadline: Duration::from_mins(2),
    }
}

/// What `[cache]` says when it says nothing.
fn caching() -> CacheLimits {
    CacheLimits { max_bytes: 256 << 20, max_entry: 64 << 20, ttl: Duration::from_hours(1) }
}

fn registered(id: &str, priority: i32, provider: &Scripted) -> Registered {
    let provider: Arc<dyn Provider> = Arc::new(provider.clone());
    Registered {
        id: ProviderId::new(id),
        kind: "scripted",
        display_name: id.to_owned(),
        description: String::new(),
        aliases: vec![format!("{id}_alias")],
        priority,
        on_disconnect: OnDisconnect::Cancel,
        deadline: None,
        provider,
        gauges: Arc::default(),
    }
}

/// Providers in ascending priority.
fn gateway(providers: &[(&str, &Scripted)], routing: Routing) -> Gateway {
    let registered = providers.iter().zip(1..).map(|((id, provider), priority)| registered(id, priority, provider));
    Gateway::new(
        Registry::new(registered.collect()),
        routing,
        caching(),
        Metrics::new(),
        Box::new(MemoryStore::default()),
    )
}

fn target(provider: Option<&str>, model: Option<&str>) -> Target {
    Target { provider: provider.map(str::to_owned), model: model.map(str::to_owned) }
}

fn size(width: u32, height: u32) -> ImageSize {
    ImageSize::new(width, height).unwrap()
}

fn nonzero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// Attempts as `model outcome reason calls`.
fn told(attempts: &[Attempt]) -> Vec<String> {
    let tell = |attempt: &Attempt| {
        let outcome = match attempt.outcome {
            AttemptOutcome::Ok => "ok",
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::Unavailable => "unavailable",
            AttemptOutcome::Skipped => "skipped",
        };
        let reason = attempt.reason.as_deref().unwrap_or("-");
        format!("{} {outcome} {reason} {}", attempt.model, attempt.calls)
    };
    attempts.iter().map(tell).collect()
}
