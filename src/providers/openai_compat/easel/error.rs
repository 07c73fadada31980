//! The failures of another Easel. Its codes are ours, so they become the kinds that they came from; its hints are made
//! for callers and are passed on.

use serde_json::Value;

use super::answer::sentence;
use crate::providers::openai_compat::client::Refused;
use crate::providers::upstream::{self, Noted};
use crate::providers::{Error, ErrorKind, retry_after};
use crate::secret::Secret;

/// An answer that is no 200.
pub(super) fn of_answer(refused: &Refused, key: Option<&Secret>) -> Error {
    let Refused { status, headers, body } = refused;
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |name: &str| problem.get(name).and_then(Value::as_str).and_then(|text| upstream::plain_word(text, key));
    let code = word("code");
    let kind = code.as_deref().and_then(kind_of).unwrap_or_else(|| by_status(status.as_u16()));
    let is_safe = |text: &String| key.is_none_or(|key| !text.contains(key.expose()));
    let hint = problem.get("hint").and_then(Value::as_str).and_then(sentence).filter(is_safe);
    // Only an Easel's own answer is taken at its word.
    let hint = hint.filter(|_| code.is_some()).or_else(|| upstream::hint(kind).map(str::to_owned));
    let message = match code.as_deref() {
        Some("loop_detected") => "the request came back to an Easel that it had come through".to_owned(),
        _ => upstream::sentence(kind, word("field").as_deref()),
    };
    let source = Noted::new(format!("status {}, code {}", status.as_u16(), code.as_deref().unwrap_or("none")));
    let error =
        Error::new(kind, message).with_source(source).with_retry_after(retry_after::of_answer(*status, headers));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What a code came from. What that Easel alone does not take or know, another provider may.
fn kind_of(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "content_rejected" => ErrorKind::ContentRejected,
        "invalid_request" | "invalid_json" | "bad_request" => ErrorKind::InvalidRequest,
        "unsupported"
        | "unknown_field"
        | "missing_field"
        | "invalid_field"
        | "conflicting_fields"
        | "idempotency_key_reused"
        | "body_too_large"
        | "unsupported_media_type"
        | "method_not_allowed"
        | "range_not_satisfiable"
        | "loop_detected" => ErrorKind::Unsupported,
        "unauthorized" | "admin_only" | "host_not_allowed" | "origin_not_allowed" | "provider_unauthorized" => {
            ErrorKind::Unauthorized
        }
        "not_found"
        | "unknown_picture"
        | "unknown_provider"
        | "unknown_model"
        | "model_not_installed"
        | "provider_model_not_found" => ErrorKind::ModelNotFound,
        "provider_quota_exhausted" => ErrorKind::QuotaExhausted,
        "rate_limited" | "provider_rate_limited" => ErrorKind::RateLimited,
        "overloaded" | "draining" | "provider_overloaded" => ErrorKind::Overloaded,
        "out_of_memory" => ErrorKind::OutOfMemory,
        "body_timeout" | "provider_timeout" | "deadline_exceeded" => ErrorKind::Timeout,
        "nothing_available" | "provider_unavailable" | "internal" => ErrorKind::Unavailable,
        "provider_no_image" => ErrorKind::NoImage,
        "provider_protocol" => ErrorKind::Protocol,
        _ => return None,
    })
}

/// What something in front of the other Easel, or a newer one, means.
fn by_status(status: u16) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::Unauthorized,
        404 => ErrorKind::ModelNotFound,
        408 | 504 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        503 | 529 => ErrorKind::Overloaded,
        507 => ErrorKind::OutOfMemory,
        // What is wrong with a request that nobody says more about is not shopped around.
        400 | 422 => ErrorKind::InvalidRequest,
        402 => ErrorKind::QuotaExhausted,
        401..=499 | 501 | 508 => ErrorKind::Unsupported,
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}
