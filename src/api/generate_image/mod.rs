//! `POST /api/generate-image`

mod answer;
mod form;
mod pictures;
mod request;
mod work;

use actix_web::{Either, HttpRequest, HttpResponse, post, web};

pub(super) use answer::AttemptView;
use answer::{Answer, GenerateImageAnswer};
use request::Checked;
pub(super) use request::GenerateImageRequest;
use work::Work;

use super::State;
use super::error::ApiError;
use super::idempotency::{IdempotencyKey, Reply};
use super::json::Json;
use super::openapi::GenerateErrors;
use super::request_id::RequestId;
use super::{stream, via};
use crate::gateway::{Scope, Watcher, fingerprint};
use crate::generation::GenerationRequest;

/// Make pictures.
///
/// Only `prompt` is required. A provider is chosen by a rule that gives the same answer every time; `attempts` says
/// what became of each candidate. The same request with a `seed` gets the same pictures
/// again while they are kept, and waits for them while they are being made. A client that leaves cancels the work,
/// unless `on_disconnect` or the provider's policy says otherwise.
///
/// With `"stream": true` the answer comes as events from the moment that a provider is asked: `partial_image` (see
/// `PartialImageEvent`), where `partial_images` asks for previews and the provider has any; at the end `completed`, whose
/// data is the very answer, or `error`, whose data is a `Problem`. Comments keep the connection awake. Pictures that are
/// kept, or under way for somebody else, come without previews, and previews that are not read in time are left out. What
/// is wrong before a provider is asked is an error with its status, as without `stream`.
#[utoipa::path(
    tag = "pictures",
    request_body = GenerateImageRequest,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "The caller's name for this request. Sent again within 24 hours, it gets the stored answer; with \
                       another request it is 422 `idempotency_key_reused`")),
    responses(
        (status = 200, description = "The pictures, who made them and how", content(
            (GenerateImageAnswer = "application/json"),
            (String = "text/event-stream"),
        ), headers(
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
) -> Result<Either<Reply<Answer>, HttpResponse>, ApiError> {
    let via = via::read(request.headers(), &state.instance)?;
    let Checked { request: wished, given, form } = body.check(&state.bounds)?;
    form.check(&state, key)?;
    let wished = GenerationRequest { via, ..wished };
    Answer::announce(&request, &wished, &state.bounds);
    // Without keys there is nobody to tell apart.
    let scope = key.scope(Scope::everybody());
    let once = key.of(|| fingerprint(&wished, given.written().chain(form.written())));
    let base = form.base(&state, &request);
    let work = Work { state: state.clone(), request_id: request_id.clone(), scope, wished, given, base };
    if form.events {
        let (watcher, sight) = Watcher::new();
        return stream::answer(work.done(Some(watcher)), sight, request_id).await.map(Either::Right);
    }
    state.answers.once(once, &request_id, work.done(None)).await.map(Either::Left)
}
