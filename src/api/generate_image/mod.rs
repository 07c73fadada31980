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
use super::idempotency::{IdempotencyKey, Reply};
use super::json::Json;
use super::openapi::GenerateErrors;
use super::request_id::RequestId;
use super::via;
use crate::gateway::{Scope, fingerprint};
use crate::generation::GenerationRequest;

/// Make pictures.
///
/// Only `prompt` is required. A provider is chosen by a rule that gives the same answer every time; `attempts` says
/// what became of each candidate. The same request with a `seed` gets the same pictures
/// again while they are kept, and waits for them while they are being made. A client that leaves cancels the work,
/// unless `on_disconnect` or the provider's policy says otherwise.
#[utoipa::path(
    tag = "pictures",
    request_body = GenerateImageRequest,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "The caller's name for this request. Sent again within 24 hours, it gets the stored answer; with \
                       another request it is 422 `idempotency_key_reused`")),
    responses(
        (status = 200, description = "The pictures, who made them and how", body = GenerateImageAnswer, headers(
            ("x-request-id" = String, description = "The id of the request"),
            ("x-easel-provider" = String, description = "Who made the pictures"),
            ("x-easel-model" = String, description = "With which model"),
            ("x-easel-attempts" = String, description = "What became of each candidate, in order"),
            ("x-easel-cache" = String, description = "`hit`, `miss`, `coalesced` or `bypass`: see `cache`"),
            ("idempotency-replayed" = String, description = "`true` where the answer is the stored one of an earlier request"),
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
    key: IdempotencyKey,
    Json(body): Json<GenerateImageRequest>,
) -> Result<Reply<Answer>, ApiError> {
    let via = via::read(request.headers(), &state.instance)?;
    let (wished, given) = body.check(&state.bounds)?;
    let mut wished = GenerationRequest { via, ..wished };
    Answer::announce(&request, &wished, &state.bounds);
    // Without keys there is nobody to tell apart.
    let scope = key.scope(Scope::everybody());
    let once = key.of(|| fingerprint(&wished, given.written()));
    let work = async {
        given.read(&state.fetcher, &mut wished).await?;
        let outcome = state.gateway.generate(&wished, request_id.as_str(), &scope).await?;
        Ok(Answer { outcome, target: wished.target, request_id: request_id.clone() })
    };
    state.answers.once(once, &request_id, work).await
}
