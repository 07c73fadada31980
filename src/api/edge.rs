//! The outermost layer: gives every request its id and its log line, and every error the documented shape.

use std::error::Error as StdError;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};

use super::error::{ApiError, Code};
use super::in_flight::{CutOff, RunningBody};
use super::request_id::{self, RequestId};
use super::summary::{self, Line, Summary};
use super::{State, pictures, problem};

/// The middleware itself.
pub async fn edge(
    state: web::Data<State>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId::of(request.headers());
    let (method, path) = (request.method().to_string(), shown_path(request.path()));
    let since = Instant::now();
    let running = state.in_flight.enter(CutOff {
        method: method.clone(),
        path: path.clone(),
        request_id: id.as_str().to_owned(),
        since,
    });
    let is_health = matches!(request.path(), "/healthz" | "/readyz" | "/metrics");
    let counted = state.metrics.http(request.match_pattern());
    let line = Line {
        method,
        path,
        request_id: id.as_str().to_owned(),
        started: since,
        quiet: is_health,
        counted: Some(counted),
    };
    if request.method() == Method::HEAD {
        // A HEAD is routed as its GET; the encoder leaves the body out.
        request.head_mut().method = Method::GET;
    }
    request.extensions_mut().insert(id.clone());
    let answer = if state.in_flight.is_draining() && !is_health {
        let error = ApiError::new(Code::Draining, "this process is shutting down", "send the request again")
            .with_retry_after(Some(std::time::Duration::from_secs(1)));
        request.error_response(error)
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    let answer = conclude(answer, line, id.as_str());
    let mut answer = answer.map_body(|_, body| BoxBody::new(RunningBody::new(body, running)));
    let draining = state.in_flight.is_draining();
    finish(&mut answer, id.as_str(), draining);
    Ok(answer)
}

/// Writes the log line, and gives an error its documented shape: our own with the request's id in it, and whatever
/// actix itself refused in the same form.
fn conclude(answer: ServiceResponse, line: Line, id: &str) -> ServiceResponse {
    let (request, response) = answer.into_parts();
    let foreign = of_status(response.status());
    let error = response.error().and_then(Error::as_error::<ApiError>).or(foreign.as_ref());
    let mut summary = request.extensions().get::<Summary>().cloned().unwrap_or_default();
    // An answer that is given again has had its shape from the first.
    let error = error.filter(|_| summary.replay_of.is_none());
    if let Some(attempts) = error.and_then(|error| error.told.attempts.as_deref()) {
        summary.attempts = Some(summary::attempts(attempts));
    }
    line.answered(response.status().as_u16(), error.map(|error| error.code.as_str()), &summary);
    let Some(error) = error else { return ServiceResponse::new(request, response) };
    log(error, id);
    let mut shaped = problem::response(error, id);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        shaped.headers_mut().insert(header::ALLOW, allow.clone());
    }
    ServiceResponse::new(request, shaped)
}

/// An error for a status that did not come from our own code.
fn of_status(status: StatusCode) -> Option<ApiError> {
    let (code, hint) = match status {
        status if !status.is_client_error() && !status.is_server_error() => return None,
        StatusCode::NOT_FOUND => (Code::NotFound, "/swagger-ui/ lists every route"),
        StatusCode::METHOD_NOT_ALLOWED => (Code::MethodNotAllowed, "the Allow header names the methods"),
        StatusCode::PAYLOAD_TOO_LARGE => (Code::BodyTooLarge, "send less"),
        StatusCode::REQUEST_TIMEOUT => (Code::BodyTimeout, "send the request faster"),
        status if status.is_client_error() => (Code::BadRequest, "/swagger-ui/ shows how each route is asked"),
        _ => (Code::Internal, "the log has the cause under this request id"),
    };
    Some(ApiError::new(code, code.title().to_lowercase(), hint))
}

/// The one place where a failure is logged, with everything that led to it. A caller's own mistake is no news, and
/// its text may hold a piece of the prompt, and an unknown field's name is the caller's too: only the code is written.
pub(super) fn log(error: &ApiError, id: &str) {
    let code = error.code.as_str();
    if error.code.status().is_client_error() {
        tracing::debug!(request_id = id, code, "refused");
        return;
    }
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    tracing::error!(request_id = id, code, error = %error.told.detail, causes = causes.join(": "), "failed");
}

fn finish(answer: &mut ServiceResponse, id: &str, draining: bool) {
    let headers = answer.headers_mut();
    let name = HeaderName::from_static(request_id::HEADER);
    // An answer that is given again goes by the id of the first, as its body does.
    if let (false, Ok(id)) = (headers.contains_key(&name), HeaderValue::from_str(id)) {
        headers.insert(name, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // A body that was refused is not read to its end, so nothing can follow it on the connection.
    let unread = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT].contains(&answer.status());
    if draining || unread {
        answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
}

/// A path for the log: no query, nothing that could begin a new line, no longer than any of ours, and of a picture's
/// name too little to fetch it by.
fn shown_path(path: &str) -> String {
    if let Some(name) = path.strip_prefix(pictures::ROUTE) {
        let plain = |letter: &char| letter.is_ascii_alphanumeric();
        return format!("{}{}…", pictures::ROUTE, name.chars().take(8).filter(plain).collect::<String>());
    }
    path.chars().take(128).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
