//! What the upstream's failures mean. Its own words never leave this file: the caller gets ours, and the log gets the
//! status and the code.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::providers::upstream::{self, Noted};
use crate::providers::{Error, ErrorKind, retry_after};
use crate::secret::Secret;

/// What an error body says, in whichever of the usual shapes.
#[derive(Debug, Default)]
struct Said {
    code: Option<String>,
    kind: Option<String>,
    param: Option<String>,
}

/// An answer that is no 200.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], key: Option<&Secret>) -> Error {
    let said = serde_json::from_slice(body)
        .map(|body: Value| said(body.get("error").unwrap_or(&body), key))
        .unwrap_or_default();
    let kind = said.kind(status);
    let source = format!(
        "status {}, code {}, type {}",
        status.as_u16(),
        said.code.as_deref().unwrap_or("none"),
        said.kind.as_deref().unwrap_or("none"),
    );
    let error = Error::new(kind, said.sentence(kind)).with_source(Noted::new(source));
    let error = match upstream::hint(kind) {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    error.with_retry_after(retry_after::of_answer(status, headers))
}

/// An error object inside a 200.
pub(super) fn of_success(error: &Value) -> Error {
    let said = said(error, None);
    let known = said.kind_by_code();
    let kind = known.unwrap_or(ErrorKind::Protocol);
    let sentence = known.map_or_else(
        || "the provider answered with an error that calls itself a success".to_owned(),
        |kind| said.sentence(kind),
    );
    let code = said.code.as_deref().unwrap_or("none");
    Error::new(kind, sentence).with_source(Noted::new(format!("status 200, code {code}")))
}

/// A refusal inside a 200.
pub(super) fn refused() -> Error {
    Error::new(ErrorKind::ContentRejected, upstream::sentence(ErrorKind::ContentRejected, None))
}

/// `{"error":{"code","type","param"}}`, or `{"error":"text"}`, or `{"detail":…}`; what is no plain word is left out.
fn said(error: &Value, key: Option<&Secret>) -> Said {
    let word = |name: &str| {
        let text = match error.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        upstream::plain_word(&text, key)
    };
    Said { code: word("code"), kind: word("type"), param: word("param") }
}

impl Said {
    /// The kind that the code alone makes plain, whatever the status.
    fn kind_by_code(&self) -> Option<ErrorKind> {
        let of = |word: &str| match word {
            "moderation_blocked" | "content_policy_violation" | "content_filter" => Some(ErrorKind::ContentRejected),
            "insufficient_quota" | "billing_hard_limit_reached" | "project_spend_limit_exceeded" => {
                Some(ErrorKind::QuotaExhausted)
            }
            "model_not_found" => Some(ErrorKind::ModelNotFound),
            "invalid_api_key" => Some(ErrorKind::Unauthorized),
            "rate_limit_exceeded" => Some(ErrorKind::RateLimited),
            // Another provider may know the parameter.
            "unknown_parameter" | "unsupported_parameter" | "unsupported_value" => Some(ErrorKind::Unsupported),
            _ => None,
        };
        self.code.as_deref().and_then(of).or_else(|| self.kind.as_deref().and_then(of))
    }

    fn kind(&self, status: StatusCode) -> ErrorKind {
        self.kind_by_code().unwrap_or_else(|| match status.as_u16() {
            // What one provider makes is not what all make: another may take the size or the count.
            400 | 422 if matches!(self.param.as_deref(), Some("size" | "n")) => ErrorKind::Unsupported,
            401 | 403 => ErrorKind::Unauthorized,
            402 => ErrorKind::QuotaExhausted,
            404 => ErrorKind::ModelNotFound,
            408 | 504 => ErrorKind::Timeout,
            409 | 425 => ErrorKind::Unavailable,
            429 => ErrorKind::RateLimited,
            503 | 529 => ErrorKind::Overloaded,
            400..=499 => ErrorKind::InvalidRequest,
            500..=599 => ErrorKind::Unavailable,
            _ => ErrorKind::Protocol,
        })
    }

    fn sentence(&self, kind: ErrorKind) -> String {
        const OURS: [&str; 7] = ["prompt", "n", "size", "seed", "negative_prompt", "steps", "guidance_scale"];
        let named = self.param.as_deref().filter(|field| OURS.contains(field));
        upstream::sentence(kind, named)
    }
}
