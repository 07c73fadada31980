//! `GET /metrics`

use actix_web::{HttpResponse, get, web};

use super::State;
use super::auth::Administrator;
use super::openapi::MetricsErrors;
use crate::gateway::{BreakerState, ProviderHealth};
use crate::metrics::{self, Metrics};

/// What was counted.
///
/// Figures for a monitoring system, in the text format of `OpenMetrics`. They hold no prompt, no key and no address.
/// For an administrator: with the token of `[server] admin_token`, or without one where Easel listens on a loopback address.
#[utoipa::path(
    tag = "health",
    security((), ("admin" = [])),
    responses(
        (status = 200, description = "The figures", body = String, content_type = "application/openmetrics-text"),
        MetricsErrors,
    )
)]
#[get("/metrics")]
pub(super) async fn read(_: Administrator, state: web::Data<State>) -> HttpResponse {
    for health in state.gateway.health() {
        note(&state.metrics, &health);
    }
    HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(state.metrics.render())
}

/// What is not counted as it happens but is so at the moment.
fn note(metrics: &Metrics, health: &ProviderHealth) {
    let provider = metrics.provider(health.id.as_str());
    provider.set_available(health.availability.is_available());
    if let Some(breaker) = health.breaker {
        provider.set_breaker(match breaker {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen | BreakerState::Probing => 1,
            BreakerState::Open(_) => 2,
        });
    }
}
