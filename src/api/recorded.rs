//! An answer in a form that can be given more than once: to a twin that waited for it, or after a restart.

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, Responder};
use serde::{Deserialize, Serialize};

use super::answer_body::{AnswerBody, Segment};
use super::error::ApiError;
use super::problem;
use super::request_id::{self, RequestId};
use super::summary::Summary;

/// Says that the answer was given before.
const REPLAYED: &str = "idempotency-replayed";

/// An answer that knows how it looks on the wire.
pub(super) trait Record {
    /// All of it.
    fn recorded(&self) -> Recorded;

    /// What the log says of it.
    fn summary(&self) -> Summary;
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) head: Head,
    pub(super) body: Vec<Segment>,
}

/// All of an answer but its body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    /// The id of the request that it answered first.
    pub(super) request_id: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
}

impl Recorded {
    /// The answer that `error` becomes at the edge.
    pub(super) fn of_error(error: &ApiError, request_id: &RequestId) -> Self {
        let response = problem::response(error, request_id.as_str());
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
        let headers = response.headers().iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?)));
        let (request_id, status) = (request_id.as_str().to_owned(), response.status().as_u16());
        let head = Head { request_id, status, headers: headers.collect() };
        // A problem is one piece of bytes.
        let body = response.into_body().try_into_bytes().unwrap_or_default();
        Self { head, body: vec![Segment::Text(body)] }
    }

    /// As it is sent.
    pub(super) fn into_response(self) -> HttpResponse<BoxBody> {
        let status = StatusCode::from_u16(self.head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        for (name, value) in &self.head.headers {
            // A model key may hold letters that a header cannot.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                response.insert_header((name, value));
            }
        }
        response.body(AnswerBody::new(self.body))
    }
}

/// An answer that was given before.
pub(super) struct Replay(pub(super) Recorded);

impl Responder for Replay {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse<BoxBody> {
        let id = self.0.head.request_id.clone();
        let mut response = self.0.into_response();
        response.headers_mut().insert(HeaderName::from_static(REPLAYED), HeaderValue::from_static("true"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HeaderName::from_static(request_id::HEADER), id);
        }
        let summary = request.extensions().get::<Summary>().cloned().unwrap_or_default();
        request.extensions_mut().insert(Summary { replay_of: Some(id), ..summary });
        response
    }
}
