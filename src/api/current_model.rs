//! `POST /api/image-models/current`

use actix_web::{post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::State;
use super::auth::Administrator;
use super::error::ApiError;
use super::fields::invalid;
use super::json::Json;
use super::openapi::CurrentErrors;

/// Which model becomes the current one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetCurrentModel {
    /// `provider/key`, a model key, or an alias.
    #[schema(min_length = 1, max_length = 256)]
    model: String,
}

/// The current model.
#[derive(Debug, Serialize, ToSchema)]
struct CurrentModel {
    /// Its provider.
    current_provider: String,
    /// Its key.
    current_model: String,
}

/// Choose the current model.
///
/// It leads where a request names nothing, while its provider is available, and is kept across a restart. For an
/// administrator: with the token of `[server] admin_token`, or without one where Easel listens on a loopback address.
#[utoipa::path(
    tag = "models",
    request_body = SetCurrentModel,
    security((), ("admin" = [])),
    responses((status = 200, description = "The current model", body = CurrentModel), CurrentErrors)
)]
#[post("/api/image-models/current")]
pub(super) async fn set(
    _: Administrator,
    state: web::Data<State>,
    Json(body): Json<SetCurrentModel>,
) -> Result<web::Json<CurrentModel>, ApiError> {
    if body.model.trim().is_empty() || body.model.len() > 256 {
        return Err(invalid("model", "a name of 1 to 256 bytes"));
    }
    let model = state.gateway.set_current(&body.model)?;
    let (current_provider, current_model) = (model.provider.to_string(), model.key.to_string());
    Ok(web::Json(CurrentModel { current_provider, current_model }))
}
