//! What the upstream's failures mean. Its own words never leave this file: the caller gets ours, and the log gets the
//! status and the code.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::providers::{Error, ErrorKind};
use crate::secret::Secret;

/// What the log learns of an upstream's answer.
#[derive(Debug)]
pub(super) struct UpstreamError(String);

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UpstreamError {}

impl UpstreamError {
    pub(super) fn unreadable(line: usize, column: usize) -> Self {
        Self(format!("reading stopped at line {line}, column {column}"))
    }
}

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
    let error = Error::new(kind, said.sentence(kind)).with_source(UpstreamError(source));
    let error = match hint(kind) {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    error.with_retry_after(retry_after(headers, SystemTime::now()))
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
    Error::new(kind, sentence).with_source(UpstreamError(format!("status 200, code {code}")))
}

/// A refusal inside a 200.
pub(super) fn refused() -> Error {
    Error::new(ErrorKind::ContentRejected, "the provider refused the prompt")
}

/// No answer at all.
pub(super) fn of_transport(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let (kind, sentence) = if error.is_connect() {
        (ErrorKind::Unavailable, "the provider cannot be reached")
    } else if error.is_timeout() {
        (ErrorKind::Timeout, "the provider did not answer in time")
    } else {
        (ErrorKind::Unavailable, "the provider closed the connection without an answer")
    };
    Error::new(kind, sentence).with_source(error)
}

/// An answer that broke off.
pub(super) fn of_body(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Protocol, "the provider's answer broke off").with_source(error.without_url())
}

/// `{"error":{"code","type","param"}}`, or `{"error":"text"}`, or `{"detail":…}`; what is no plain word is left out.
fn said(error: &Value, key: Option<&Secret>) -> Said {
    let word = |name: &str| {
        let text = match error.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        let is_plain =
            text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        // An upstream that echoes what it was sent must not bring the key into the log.
        let is_key =
            key.is_some_and(|key| text.contains(key.expose()) || key.expose().contains(&text) && text.len() > 7);
        (is_plain && !is_key).then_some(text)
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
        let field = || named.map(|field| format!(" because of `{field}`")).unwrap_or_default();
        match kind {
            ErrorKind::InvalidRequest => format!("the provider refused the request{}", field()),
            ErrorKind::Unsupported => format!("the provider cannot do what was asked{}", field()),
            ErrorKind::ContentRejected => "the provider refused the prompt".to_owned(),
            ErrorKind::Unauthorized => "the provider refused the key".to_owned(),
            ErrorKind::ModelNotFound => "the provider does not know the model".to_owned(),
            ErrorKind::QuotaExhausted => "the account at the provider has nothing left".to_owned(),
            ErrorKind::RateLimited => "the provider takes no more requests for now".to_owned(),
            ErrorKind::Overloaded => "the provider has too much to do".to_owned(),
            ErrorKind::Timeout => "the provider gave up for lack of time".to_owned(),
            ErrorKind::Unavailable => "the provider is out of order".to_owned(),
            ErrorKind::NoImage | ErrorKind::Protocol => {
                "the provider answered in a way that is not understood".to_owned()
            }
            ErrorKind::Internal => "asking the provider failed".to_owned(),
        }
    }
}

fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Unauthorized => Some("check the key and what it may do at the provider"),
        ErrorKind::ModelNotFound => Some("check the model's id and base_url in the configuration"),
        ErrorKind::QuotaExhausted => Some("add credit at the provider"),
        ErrorKind::ContentRejected => Some("change the prompt"),
        ErrorKind::InvalidRequest
        | ErrorKind::Unsupported
        | ErrorKind::RateLimited
        | ErrorKind::Overloaded
        | ErrorKind::Timeout
        | ErrorKind::Unavailable
        | ErrorKind::NoImage
        | ErrorKind::Protocol
        | ErrorKind::Internal => None,
    }
}

/// When to come back: `retry-after-ms`, else `retry-after` in seconds (whole or not) or as an HTTP date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    /// Nobody means more than a day.
    const MOST: f64 = 86_400.0;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds =
        |number: f64| (number.is_finite() && number >= 0.0).then(|| Duration::from_secs_f64(number.min(MOST)));
    let milliseconds = text("retry-after-ms").and_then(|value| value.parse::<f64>().ok());
    if let Some(delay) = milliseconds.and_then(|value| seconds(value / 1000.0)) {
        return Some(delay);
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(number) = value.parse::<f64>() {
        return seconds(number);
    }
    let delay = httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or(Duration::ZERO);
    Some(delay.min(Duration::from_secs_f64(MOST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers, and what they come to.
    type Case<'a> = (&'a [(&'static str, &'a str)], Option<Duration>);

    #[test]
    fn every_spelling_of_retry_after_is_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let date = httpdate::fmt_http_date(now + Duration::from_secs(7));
        let past = httpdate::fmt_http_date(now - Duration::from_secs(7));
        let cases: [Case<'_>; 9] = [
            (&[("retry-after", "12")], Some(Duration::from_secs(12))),
            (&[("retry-after", " 1.5 ")], Some(Duration::from_millis(1500))),
            (&[("retry-after", "5"), ("retry-after-ms", "250")], Some(Duration::from_millis(250))),
            (&[("retry-after", &date)], Some(Duration::from_secs(7))),
            (&[("retry-after", &past)], Some(Duration::ZERO)),
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "1e300")], Some(Duration::from_hours(24))),
            (&[], None),
        ];
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(retry_after(&headers, now), expected, "{given:?}");
        }
    }
}
