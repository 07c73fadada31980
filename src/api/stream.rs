//! An answer as events while it is made: previews, then the very answer or its error (`text/event-stream`).
//!
//! Whoever reads slowly loses previews, never the end; whoever leaves drops the work.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use utoipa::ToSchema;

use super::answer_body::{AnswerBody, Segment, is_streamed, members};
use super::error::{ApiError, Code};
use super::recorded::Record;
use super::request_id::RequestId;
use super::summary::{self, Summary};
use super::{edge, problem};
use crate::gateway::Sight;
use crate::generation::{GeneratedImage, PartialImage};

/// So often something is sent, so that nothing on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The data of an event `partial_image`: a picture on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PartialImageEvent {
    /// The file in base64.
    #[serde(skip_serializing_if = "is_streamed")]
    #[schema(required)]
    b64_json: String,
    /// Which of the pictures, from 0.
    index: u32,
    /// Which of its previews, from 0. It begins again where another attempt or another provider begins again.
    step: u32,
    /// The file's media type.
    mime_type: &'static str,
    /// Pixels across.
    width: u32,
    /// Pixels down.
    height: u32,
}

/// The work and what there is to see of it.
struct Events<T> {
    /// One task, dropped with this; none any more once it has ended.
    work: JoinSet<Result<T, ApiError>>,
    sight: Sight,
    keep_alive: Interval,
    /// What is being sent.
    event: AnswerBody,
    request_id: RequestId,
    started: Instant,
}

/// Begins `work`. What ends before any provider was asked is answered as ever: an error is no event then.
pub(super) async fn answer<T: Record + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + 'static,
    sight: Sight,
    request_id: RequestId,
) -> Result<HttpResponse, ApiError> {
    // A task of its own: a reader who is slow holds up what it reads, not what is made.
    let mut running = JoinSet::new();
    running.spawn_local(work);
    let mut keep_alive = interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let event = AnswerBody::new(Vec::new());
    let mut events = Events { work: running, sight, keep_alive, event, request_id, started: Instant::now() };
    tokio::select! {
        biased;
        Some(ended) = events.work.join_next() => events.event = events.completed(&of_task(ended)?),
        () = events.sight.begun() => {}
    }
    let pieces = stream::unfold(events, |mut events| async move {
        let piece = events.next().await?;
        Some((Ok::<_, Infallible>(piece), events))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(pieces))
}

impl<T: Record + 'static> Events<T> {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.event.next() {
                return Some(piece);
            }
            if self.work.is_empty() {
                return None;
            }
            // In this order: what was shown before the end comes before it.
            tokio::select! {
                biased;
                Some(preview) = self.sight.preview() => self.event = shown(&preview),
                Some(ended) = self.work.join_next() => {
                    self.event = match of_task(ended) {
                        Ok(answer) => self.completed(&answer),
                        Err(error) => self.failed(&error),
                    };
                }
                _ = self.keep_alive.tick() => return Some(Bytes::from_static(b": still at it\n\n")),
            }
            self.keep_alive.reset();
        }
    }

    fn completed(&self, answer: &T) -> AnswerBody {
        summary::streamed(self.request_id.as_str(), self.started, None, &answer.summary());
        event("completed", answer.recorded().body)
    }

    fn failed(&self, error: &ApiError) -> AnswerBody {
        let id = self.request_id.as_str();
        let attempts = error.told.attempts.as_deref().map(summary::attempts);
        summary::streamed(id, self.started, Some(error.code.as_str()), &Summary { attempts, ..Summary::default() });
        edge::log(error, id);
        event("error", vec![Segment::Text(problem::body(error, id).into())])
    }
}

impl<T> Drop for Events<T> {
    fn drop(&mut self) {
        if !self.work.is_empty() {
            tracing::info!(request_id = self.request_id.as_str(), "a stream was left before its end");
        }
    }
}

fn of_task<T>(ended: Result<Result<T, ApiError>, tokio::task::JoinError>) -> Result<T, ApiError> {
    ended.unwrap_or_else(|broken| {
        let hint = "the log has the cause under this request id";
        Err(ApiError::new(Code::Internal, "the making of the answer broke off", hint).with_source(broken))
    })
}

fn shown(preview: &PartialImage) -> AnswerBody {
    let PartialImage { index, step, image: GeneratedImage { data, format, size, seed: _ } } = preview;
    let rest = PartialImageEvent {
        b64_json: String::new(),
        index: *index,
        step: *step,
        mime_type: format.mime_type(),
        width: size.width.get(),
        height: size.height.get(),
    };
    let rest = format!("\",{}", members(&rest));
    let data = vec![Segment::Text("{\"b64_json\":\"".into()), Segment::from(data), Segment::Text(rest.into())];
    event("partial_image", data)
}

/// One event. Its data is JSON without line ends.
fn event(name: &str, data: Vec<Segment>) -> AnswerBody {
    let head = Segment::Text(format!("event: {name}\ndata: ").into());
    let segments = [head].into_iter().chain(data).chain([Segment::Text("\n\n".into())]);
    AnswerBody::new(segments.collect())
}
