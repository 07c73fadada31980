//! `GET /healthz`, `GET /readyz` and `GET /`

use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Code};
use super::openapi::{OpenErrors, ReadyErrors};

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`
    status: &'static str,
}

/// What this is.
#[derive(Debug, Serialize, ToSchema)]
struct Welcome {
    /// `easel`
    name: &'static str,
    /// The version of the build.
    version: &'static str,
    /// Where the routes are described for people.
    docs: &'static str,
    /// Where the routes are described for machines.
    openapi: &'static str,
    /// Where it says what can be had.
    models: &'static str,
}

/// Whether the process runs.
#[utoipa::path(tag = "health", responses((status = 200, description = "It does", body = Health), OpenErrors))]
#[get("/healthz")]
pub(super) async fn alive() -> web::Json<Health> {
    web::Json(Health { status: "ok" })
}

/// Whether a picture could be made now.
#[utoipa::path(
    tag = "health",
    responses((status = 200, description = "At least one provider is available", body = Health), ReadyErrors)
)]
#[get("/readyz")]
pub(super) async fn ready(state: web::Data<State>) -> Result<web::Json<Health>, ApiError> {
    if state.in_flight.is_draining() {
        return Err(ApiError::new(Code::Draining, "this process is shutting down", "ask another one"));
    }
    if state.gateway.providers().iter().any(|entry| entry.provider.is_available().is_available()) {
        return Ok(web::Json(Health { status: "ok" }));
    }
    let hint = "GET /api/image-models says of each provider why not and what to do";
    Err(ApiError::new(Code::NothingAvailable, "no provider is available", hint))
}

/// What this is and where to look.
#[utoipa::path(tag = "health", responses((status = 200, description = "Where to look", body = Welcome), OpenErrors))]
#[get("/")]
pub(super) async fn root() -> web::Json<Welcome> {
    web::Json(Welcome {
        name: "easel",
        version: env!("CARGO_PKG_VERSION"),
        docs: "/swagger-ui/",
        openapi: "/api-docs/openapi.json",
        models: "/api/image-models",
    })
}
