//! `GET /api/image-providers/health`

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::availability::AvailabilityView;
use super::openapi::PlainErrors;
use crate::gateway::{BreakerState, Headroom, ProviderHealth};

/// How each provider fares, in the order in which they are tried.
#[derive(Debug, Serialize, ToSchema)]
struct ProvidersHealth {
    /// One entry for each configured provider.
    providers: Vec<ProviderHealthView>,
}

/// How one provider fares.
#[derive(Debug, Serialize, ToSchema)]
struct ProviderHealthView {
    /// Its id.
    name: String,
    #[serde(flatten)]
    availability: AvailabilityView,
    /// Whether repeated failures hold requests back; `null` where the provider's policy has no breaker.
    #[schema(required)]
    breaker: Option<BreakerView>,
    /// What is left of the limits under which it is asked.
    rate_limit: RateLimitView,
    /// Turns that made the pictures, since the process started.
    succeeded: u64,
    /// Turns that failed, since the process started.
    failed: u64,
    /// Its last turns, the latest first.
    recent: Vec<TurnView>,
}

/// Whether repeated failures hold requests back.
#[derive(Debug, Serialize, ToSchema)]
struct BreakerView {
    /// `closed`: requests go through. `open`: they are held back. `half_open`: one is let through to see whether the
    /// failures have passed.
    state: &'static str,
    /// While open: when it will be half open, in milliseconds since 1970.
    #[schema(required)]
    until_ms: Option<u64>,
}

/// What is left of the limits under which a provider is asked: our own, and those that it told us of.
#[derive(Debug, Serialize, ToSchema)]
struct RateLimitView {
    /// Upstream calls that a minute may have; `null`: any number.
    #[schema(required)]
    requests_per_minute: Option<u32>,
    /// Calls that could be made at once now, under that limit.
    #[schema(required)]
    requests_left: Option<u32>,
    /// Upstream calls that may be in flight; `null`: any number.
    #[schema(required)]
    max_concurrent: Option<u32>,
    /// How many more could be in flight now, under that limit.
    #[schema(required)]
    places_left: Option<u32>,
    /// Requests that wait for their turn.
    waiting: u32,
    /// Keys that take turns; 1 also where no key is asked for.
    keys: u32,
    /// Keys that rest because the provider limited or refused them.
    keys_resting: u32,
}

/// One turn of a provider.
#[derive(Debug, Serialize, ToSchema)]
struct TurnView {
    /// `ok`, or the category of the failure.
    outcome: &'static str,
    /// When it ended, in milliseconds since 1970.
    at_ms: u64,
}

/// How each provider fares.
///
/// It is read from what happened; no provider is asked and no picture is made.
#[utoipa::path(
    tag = "models",
    responses((status = 200, description = "Every configured provider", body = ProvidersHealth), PlainErrors)
)]
#[get("/api/image-providers/health")]
pub(super) async fn list(state: web::Data<State>) -> web::Json<ProvidersHealth> {
    web::Json(ProvidersHealth { providers: state.gateway.health().into_iter().map(ProviderHealthView::from).collect() })
}

impl From<ProviderHealth> for ProviderHealthView {
    fn from(health: ProviderHealth) -> Self {
        let turns = health.recent.iter().map(|turn| TurnView { outcome: turn.outcome, at_ms: unix_ms(turn.at) });
        Self {
            name: health.id.to_string(),
            availability: health.availability.into(),
            breaker: health.breaker.map(BreakerView::from),
            rate_limit: RateLimitView::from(health.headroom),
            succeeded: health.succeeded,
            failed: health.failed,
            recent: turns.collect(),
        }
    }
}

impl From<BreakerState> for BreakerView {
    fn from(breaker: BreakerState) -> Self {
        match breaker {
            BreakerState::Closed => Self { state: "closed", until_ms: None },
            BreakerState::Open(left) => Self { state: "open", until_ms: Some(unix_ms(SystemTime::now() + left)) },
            BreakerState::HalfOpen | BreakerState::Probing => Self { state: "half_open", until_ms: None },
        }
    }
}

impl From<Headroom> for RateLimitView {
    fn from(headroom: Headroom) -> Self {
        let Headroom { requests_per_minute, requests_left, max_concurrent, places_left, waiting, keys, keys_resting } =
            headroom;
        Self { requests_per_minute, requests_left, max_concurrent, places_left, waiting, keys, keys_resting }
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
