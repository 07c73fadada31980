//! An error as it is sent: RFC 9457 problem details, with Easel's members.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::header;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::generate_image::AttemptView;

/// What every error of `/api/*` looks like (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:easel:problem:` and the code.
    #[schema(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The same sentence for every error with this code.
    title: &'static str,
    /// The HTTP status again.
    status: u16,
    /// What happened.
    detail: String,
    /// The stable name of the error; `docs/ERRORS.md` lists all.
    code: &'static str,
    /// What to do about it.
    hint: String,
    /// The id of the request, also in `x-request-id` and in the log.
    request_id: String,
    /// The request field that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// The names that could have been meant, closest first; where a name was not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    candidates: Option<Vec<String>>,
    /// What became of each candidate; where providers were considered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempts: Option<Vec<AttemptView>>,
}

/// The body alone.
pub(super) fn body(error: &ApiError, request_id: &str) -> Vec<u8> {
    let status = error.code.status();
    let problem = Problem {
        kind: format!("urn:easel:problem:{}", error.code.as_str()),
        title: error.code.title(),
        status: status.as_u16(),
        detail: error.told.detail.clone(),
        code: error.code.as_str(),
        hint: error.told.hint.clone(),
        request_id: request_id.to_owned(),
        field: error.told.field.clone(),
        candidates: error.told.candidates.clone(),
        attempts: error.told.attempts.as_ref().map(|attempts| attempts.iter().map(AttemptView::from).collect()),
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// The whole answer for an error.
pub(super) fn response(error: &ApiError, request_id: &str) -> HttpResponse<BoxBody> {
    let mut builder = HttpResponse::build(error.code.status());
    builder.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(delay) = error.told.retry_after {
        builder.insert_header((header::RETRY_AFTER, whole_seconds(delay).to_string()));
    }
    for (name, value) in &error.told.headers {
        builder.insert_header((*name, value.as_str()));
    }
    builder.content_type("application/problem+json").body(body(error, request_id))
}

/// Seconds, rounded up, so that whoever comes back then does not come too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_rounds_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::from_millis(2001)), 3);
    }
}
