//! `GET /api/image-providers/health`

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::openapi::PlainErrors;
use crate::gateway::ProviderHealth;
use crate::generation::Availability;

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
    /// Whether it can make a picture now.
    available: bool,
    /// Why not, for people.
    #[schema(required)]
    reason: Option<String>,
    /// Why not, for machines: a stable category.
    #[schema(required)]
    reason_code: Option<&'static str>,
    /// What to do about it.
    #[schema(required)]
    setup: Option<String>,
    /// Whether repeated failures hold requests back. Always `null`: this build has no breaker.
    #[schema(required)]
    breaker: Option<String>,
    /// What is left of a rate limit. Always `null`: this build keeps none for providers.
    #[schema(required)]
    rate_limit: Option<String>,
    /// Turns that made the pictures, since the process started.
    succeeded: u64,
    /// Turns that failed, since the process started.
    failed: u64,
    /// Its last turns, the latest first.
    recent: Vec<TurnView>,
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
        let (available, reason_code, reason, setup) = match health.availability {
            Availability::Available => (true, None, None, None),
            Availability::Unavailable { reason, detail, remedy } => (false, Some(reason), Some(detail), Some(remedy)),
        };
        let turns = health.recent.iter().map(|turn| TurnView { outcome: turn.outcome, at_ms: unix_ms(turn.at) });
        Self {
            name: health.id.to_string(),
            available,
            reason,
            reason_code,
            setup,
            breaker: None,
            rate_limit: None,
            succeeded: health.succeeded,
            failed: health.failed,
            recent: turns.collect(),
        }
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
