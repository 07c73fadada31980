//! `POST /api/generate-image`

mod answer;
mod pictures;
mod request;

use actix_web::{HttpRequest, post, web};

pub(super) use answer::AttemptView;
use answer::{Answer, GenerateImageAnswer};
pub(super) use request::GenerateImageRequest;

use super::State;
use super::error::ApiError;
use super::json::Json;
use super::openapi::GenerateErrors;
use super::request_id::RequestId;
use super::via;

/// Make pictures.
///
/// Only `prompt` is required. A provider is chosen by a rule that gives the same answer every time; `attempts` says
/// what became of each candidate. A client that leaves cancels the work.
#[utoipa::path(
    tag = "pictures",
    request_body = GenerateImageRequest,
    responses(
        (status = 200, description = "The pictures, who made them and how", body = GenerateImageAnswer, headers(
            ("x-request-id" = String, description = "The id of the request"),
            ("x-easel-provider" = String, description = "Who made the pictures"),
            ("x-easel-model" = String, description = "With which model"),
            ("x-easel-attempts" = String, description = "What became of each candidate, in order"),
            ("x-easel-cache" = String, description = "`off`: this build keeps no pictures"),
            ("server-timing" = String, description = "Milliseconds in all and of Easel's own"),
        )),
        GenerateErrors,
    )
)]
#[post("/api/generate-image")]
pub(super) async fn generate(
    state: web::Data<State>,
    request_id: RequestId,
    request: HttpRequest,
    Json(body): Json<GenerateImageRequest>,
) -> Result<Answer, ApiError> {
    request::check_headers(request.headers())?;
    let via = via::read(request.headers(), &state.instance)?;
    let (mut wished, given) = body.check(&state.bounds)?;
    given.read(&state.fetcher, &mut wished).await?;
    wished.via = via;
    Answer::announce(&request, &wished, &state.bounds);
    let outcome = state.gateway.generate(&wished, request_id.as_str()).await?;
    Ok(Answer { outcome, target: wished.target, request_id })
}
