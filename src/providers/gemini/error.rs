//! What the service's failures mean. Its own words never leave this file: the caller gets ours, and the log gets the
//! status and the codes. The shape is `google.rpc.Status`: <https://ai.google.dev/gemini-api/docs/troubleshooting>

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::providers::upstream::{self, Noted};
use crate::providers::{Error, ErrorKind, retry_after};
use crate::secret::Secret;

/// What an error object says.
#[derive(Debug, Default)]
struct Said {
    /// The canonical code, `RESOURCE_EXHAUSTED` for one.
    status: Option<String>,
    /// `google.rpc.ErrorInfo`.
    reason: Option<String>,
    /// `google.rpc.QuotaFailure`: which quotas, and whether they are zero to begin with.
    quotas: Vec<String>,
    has_no_quota: bool,
    /// `google.rpc.BadRequest`: which fields of ours.
    fields: Vec<String>,
    /// `google.rpc.RetryInfo`.
    delay: Option<Duration>,
}

/// An answer that is no 200.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], key: Option<&Secret>) -> Error {
    let said = serde_json::from_slice(body).map(|body: Value| said(&body, key)).unwrap_or_default();
    let kind = said.kind(Some(status));
    let delay = said.delay.or_else(|| retry_after::of_answer(status, headers));
    said.error(kind, &status.as_u16().to_string()).with_retry_after(delay)
}

/// An error object inside a 200.
pub(super) fn of_success(error: &Value) -> Error {
    let said = said(error, None);
    let delay = said.delay;
    said.error(said.kind(None), "200").with_retry_after(delay)
}

/// `{"error":{…}}` or the object itself, alone or in an array of one; what is no plain word is left out.
fn said(body: &Value, key: Option<&Secret>) -> Said {
    let body = body.get(0).unwrap_or(body);
    let error = body.get("error").unwrap_or(body);
    let word = |value: Option<&Value>| upstream::plain_word(value?.as_str()?, key);
    let mut said = Said { status: word(error.get("status")), ..Said::default() };
    let details = error.get("details").and_then(Value::as_array);
    for detail in details.into_iter().flatten() {
        let items = |name: &str| detail.get(name).and_then(Value::as_array).into_iter().flatten();
        // The `@type` is not looked at: each field has one meaning wherever it stands.
        if let Some(reason) = word(detail.get("reason")) {
            said.reason = Some(reason);
        }
        for violation in items("violations") {
            said.quotas.extend(word(violation.get("quotaId")));
            said.has_no_quota |= violation.get("quotaValue").is_some_and(|value| value == "0" || value == 0);
        }
        said.fields.extend(items("fieldViolations").filter_map(|violation| word(violation.get("field"))));
        let delay = detail.get("retryDelay").and_then(Value::as_str).and_then(retry_after::duration);
        said.delay = said.delay.max(delay);
    }
    said
}

impl Said {
    fn kind(&self, status: Option<StatusCode>) -> ErrorKind {
        self.kind_by_reason().or_else(|| self.kind_by_code()).unwrap_or_else(|| by_status(status))
    }

    /// What the reason makes plain, whatever the codes.
    /// <https://googleapis.github.io/google-cloud-dotnet/docs/Google.Api.CommonProtos/api/Google.Api.ErrorReason.html>
    fn kind_by_reason(&self) -> Option<ErrorKind> {
        match self.reason.as_deref()? {
            "BILLING_DISABLED" | "RESOURCE_QUOTA_EXCEEDED" => Some(ErrorKind::QuotaExhausted),
            "RATE_LIMIT_EXCEEDED" if self.is_used_up() => Some(ErrorKind::QuotaExhausted),
            "RATE_LIMIT_EXCEEDED" => Some(ErrorKind::RateLimited),
            "SERVICE_DISABLED" | "CONSUMER_INVALID" | "CONSUMER_SUSPENDED" | "CREDENTIALS_MISSING" => {
                Some(ErrorKind::Unauthorized)
            }
            // A bad key is a 400 here: API_KEY_INVALID, API_KEY_SERVICE_BLOCKED and their kin.
            reason if reason.starts_with("API_KEY_") => Some(ErrorKind::Unauthorized),
            _ => None,
        }
    }

    fn kind_by_code(&self) -> Option<ErrorKind> {
        match self.status.as_deref()? {
            "INVALID_ARGUMENT" | "OUT_OF_RANGE" => Some(self.kind_of_mistake()),
            // The project has no billing, or its region is not served: nothing that waiting would change.
            "FAILED_PRECONDITION" => Some(ErrorKind::QuotaExhausted),
            "UNAUTHENTICATED" | "PERMISSION_DENIED" => Some(ErrorKind::Unauthorized),
            "NOT_FOUND" => Some(ErrorKind::ModelNotFound),
            "RESOURCE_EXHAUSTED" if self.is_used_up() => Some(ErrorKind::QuotaExhausted),
            "RESOURCE_EXHAUSTED" => Some(ErrorKind::RateLimited),
            // We did not give up, or we would not be reading this.
            "CANCELLED" => Some(ErrorKind::Internal),
            "UNAVAILABLE" => Some(ErrorKind::Overloaded),
            "DEADLINE_EXCEEDED" => Some(ErrorKind::Timeout),
            "UNIMPLEMENTED" => Some(ErrorKind::Unsupported),
            "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "ABORTED" | "ALREADY_EXISTS" => Some(ErrorKind::Unavailable),
            _ => None,
        }
    }

    /// A mistake in how the picture was to be made is this provider's limit, and another may do it; a mistake in what was
    /// given is everybody's.
    fn kind_of_mistake(&self) -> ErrorKind {
        let is_ours = |field: &String| !field.starts_with("contents");
        if !self.fields.is_empty() && self.fields.iter().all(is_ours) {
            ErrorKind::Unsupported
        } else {
            ErrorKind::InvalidRequest
        }
    }

    /// Whether a quota is used up that does not come back within minutes.
    fn is_used_up(&self) -> bool {
        let is_long = |quota: &String| ["PerDay", "PerWeek", "PerMonth"].iter().any(|span| quota.contains(span));
        self.has_no_quota || self.quotas.iter().any(is_long)
    }

    fn error(&self, kind: ErrorKind, status: &str) -> Error {
        let word = |word: Option<&str>| word.unwrap_or("none").to_owned();
        let source = format!(
            "status {status}, code {}, reason {}, quota {}",
            word(self.status.as_deref()),
            word(self.reason.as_deref()),
            word(self.quotas.first().map(String::as_str)),
        );
        let error = Error::new(kind, upstream::sentence(kind, None)).with_source(Noted::new(source));
        let hint = match self.status.as_deref() {
            Some("FAILED_PRECONDITION") if kind == ErrorKind::QuotaExhausted => {
                Some("enable billing at the provider, and see whether it serves your region")
            }
            _ => upstream::hint(kind),
        };
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

fn by_status(status: Option<StatusCode>) -> ErrorKind {
    let Some(status) = status else { return ErrorKind::Protocol };
    match status.as_u16() {
        401 | 403 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExhausted,
        404 => ErrorKind::ModelNotFound,
        408 | 504 => ErrorKind::Timeout,
        409 | 425 => ErrorKind::Unavailable,
        // Too much in one request, or a method that is not taken here: another provider may take it.
        405 | 413 | 415 | 501 => ErrorKind::Unsupported,
        429 => ErrorKind::RateLimited,
        499 => ErrorKind::Internal,
        503 | 529 => ErrorKind::Overloaded,
        400..=499 => ErrorKind::InvalidRequest,
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}
