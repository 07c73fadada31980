//! What the upstream's failures mean. Its own words never leave this file: the caller gets ours, and the log gets the
//! status and the code.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::client::Refused;
use super::refusal;
use crate::providers::upstream::{self, Noted};
use crate::providers::{Error, ErrorKind, retry_after};
use crate::secret::Secret;

/// What an error body says, in whichever of the usual shapes.
#[derive(Debug, Default)]
struct Said {
    code: Option<String>,
    kind: Option<String>,
    param: Option<String>,
    /// Whether some field means a refusal.
    is_refusal: bool,
    /// Whether its sentence does.
    sounds_like_refusal: bool,
    /// Whether its sentence says that nothing is left on the account.
    sounds_like_quota: bool,
    /// When its sentence says that it may be asked again.
    again_in: Option<Duration>,
}

/// Parts of sentences that mean an empty account, where no code says so.
const QUOTA: &[&str] = &[
    "exceeded your current quota",
    "billing hard limit",
    "insufficient credit",
    "insufficient balance",
    "out of credit",
];

/// An answer that is no 200.
pub(super) fn of_answer(refused: &Refused, had_pictures: bool, key: Option<&Secret>) -> Error {
    let Refused { status, headers, body } = refused;
    let said = serde_json::from_slice(body).map(|body: Value| Said::of_body(&body, key)).unwrap_or_default();
    let kind = said.kind(*status, had_pictures);
    let source = format!(
        "status {}, code {}, type {}",
        status.as_u16(),
        said.code.as_deref().unwrap_or("none"),
        said.kind.as_deref().unwrap_or("none"),
    );
    let error = Error::new(kind, said.sentence(kind)).with_source(Noted::new(source));
    let error = match hint(kind, *status) {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    // The vendor's own libraries obey this before anything else.
    let may_be_repeated = headers.get("x-should-retry").is_none_or(|value| value != "false");
    let error = if may_be_repeated { error } else { error.not_again() };
    let told = said.again_in.filter(|_| kind == ErrorKind::RateLimited);
    error.with_retry_after(retry_after::of_answer(*status, headers).or(told))
}

/// An error object inside a 200.
pub(super) fn of_success(error: &Value, key: Option<&Secret>) -> Error {
    of_object(error, key, ErrorKind::Protocol, "the provider answered with an error that calls itself a success")
}

/// An error among the events of an answer.
pub(super) fn of_event(error: &Value, key: Option<&Secret>) -> Error {
    of_object(error, key, ErrorKind::Unavailable, "the provider failed while the picture was on its way")
}

/// A refusal inside a 200.
pub(super) fn refused() -> Error {
    Error::new(ErrorKind::ContentRejected, upstream::sentence(ErrorKind::ContentRejected, None))
}

/// Whether what stands in the place of an error is one: some servers always have the field.
pub(super) fn is_one(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// An error that no status says anything about.
fn of_object(error: &Value, key: Option<&Secret>, otherwise: ErrorKind, sentence: &str) -> Error {
    let said = Said::of_error(error, key);
    let known = said.kind_by_words(None).or_else(|| said.kind_by_type());
    let kind = known.unwrap_or(otherwise);
    let sentence = known.map_or_else(|| sentence.to_owned(), |kind| said.sentence(kind));
    let code = said.code.as_deref().unwrap_or("none");
    Error::new(kind, sentence).with_source(Noted::new(format!("an error inside a success, code {code}")))
}

fn hint(kind: ErrorKind, status: StatusCode) -> Option<&'static str> {
    if kind == ErrorKind::Unauthorized && status == StatusCode::FORBIDDEN {
        return Some("the key may not use this model: verify the organisation at the provider, or name another model");
    }
    upstream::hint(kind)
}

impl Said {
    /// `{"error": …}` or the error itself, as `FastAPI` and others write it.
    fn of_body(body: &Value, key: Option<&Secret>) -> Self {
        let error = body.get("error").filter(|error| is_one(error));
        let mut said = Self::of_error(error.unwrap_or(body), key);
        if let Some(Value::String(text)) = error {
            // `{"error": "server_error", "message": "…"}`
            said.code = said.code.or_else(|| upstream::plain_word(text, key));
            said.listen(body.get("message").and_then(Value::as_str).unwrap_or_default());
        }
        said
    }

    /// What a sentence says beyond the codes. It is repeated nowhere.
    fn listen(&mut self, sentence: &str) {
        let sentence = sentence.to_ascii_lowercase();
        self.sounds_like_refusal |= refusal::is_said(&sentence);
        self.sounds_like_quota |= QUOTA.iter().any(|phrase| sentence.contains(phrase));
        let delay = sentence.split_once("try again in ").and_then(|(_, rest)| rest.split_whitespace().next());
        self.again_in = self.again_in.or_else(|| retry_after::duration(delay?.trim_end_matches(['.', ','])));
    }

    /// `{"code", "type", "param", "message"}`, or a text, or `{"detail": text or [{"loc", "type", "msg"}]}`; what is no
    /// plain word is left out.
    fn of_error(error: &Value, key: Option<&Secret>) -> Self {
        let detail = error.get("detail").and_then(Value::as_array).and_then(|details| details.first());
        let word = |name: &str| {
            let text = match detail.and_then(|detail| detail.get(name)).or_else(|| error.get(name))? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
            };
            upstream::plain_word(&text, key)
        };
        let place = detail.and_then(|detail| detail.get("loc")?.as_array()?.last()?.as_str());
        let mut said = Self {
            code: word("code"),
            kind: word("type"),
            param: word("param").or_else(|| upstream::plain_word(place?, key)),
            is_refusal: refusal::is_told(error),
            ..Self::default()
        };
        let inner = ["message", "detail", "msg"].into_iter().filter_map(|name| error.get(name)?.as_str());
        for sentence in inner.chain(error.as_str()).chain(detail.and_then(|detail| detail.get("msg")?.as_str())) {
            said.listen(sentence);
        }
        said
    }

    /// The kind that the words alone make plain, whatever the status; a sentence counts only with a status that is the
    /// request's own fault.
    fn kind_by_words(&self, status: Option<u16>) -> Option<ErrorKind> {
        let of = |word: &str| match word {
            word if refusal::is_code(word) => Some(ErrorKind::ContentRejected),
            "insufficient_quota"
            | "billing_hard_limit_reached"
            | "billing_not_active"
            | "project_spend_limit_exceeded"
            | "insufficient_credits"
            | "insufficient_balance" => Some(ErrorKind::QuotaExhausted),
            "model_not_found" => Some(ErrorKind::ModelNotFound),
            "invalid_api_key" | "account_deactivated" | "unsupported_country_region_territory" => {
                Some(ErrorKind::Unauthorized)
            }
            "rate_limit_exceeded" => Some(ErrorKind::RateLimited),
            // Another provider may know the parameter.
            "unknown_parameter"
            | "unsupported_parameter"
            | "unsupported_value"
            | "invalid_input_fidelity_model"
            | "string_above_max_length" => Some(ErrorKind::Unsupported),
            _ => None,
        };
        let may_be_refusal = matches!(status, None | Some(400 | 403 | 406 | 422 | 451));
        if self.is_refusal || self.sounds_like_refusal && may_be_refusal {
            return Some(ErrorKind::ContentRejected);
        }
        let coded = self.code.as_deref().and_then(of).or_else(|| self.kind.as_deref().and_then(of));
        let may_be_quota = matches!(status, None | Some(400 | 402 | 403 | 429));
        let spoken = (self.sounds_like_quota && may_be_quota).then_some(ErrorKind::QuotaExhausted);
        coded.filter(|kind| *kind != ErrorKind::RateLimited).or(spoken).or(coded)
    }

    /// What the broad types say where there is no status.
    fn kind_by_type(&self) -> Option<ErrorKind> {
        [&self.code, &self.kind].into_iter().flatten().find_map(|word| match word.as_str() {
            "server_error" | "internal_error" => Some(ErrorKind::Unavailable),
            "invalid_request_error" | "image_generation_user_error" | "user_error" => Some(self.blamed()),
            _ => None,
        })
    }

    /// The kind of a request that is at fault: what one provider takes is not what all take, except for the prompt and
    /// the pictures themselves.
    fn blamed(&self) -> ErrorKind {
        match self.param.as_deref() {
            None | Some("prompt" | "image" | "images" | "mask" | "body") => ErrorKind::InvalidRequest,
            Some(_) => ErrorKind::Unsupported,
        }
    }

    fn kind(&self, status: StatusCode, had_pictures: bool) -> ErrorKind {
        self.kind_by_words(Some(status.as_u16())).unwrap_or_else(|| match status.as_u16() {
            400 | 422 => self.blamed(),
            401 | 403 => ErrorKind::Unauthorized,
            402 => ErrorKind::QuotaExhausted,
            // A server that makes pictures need not have a route that edits them.
            404 if had_pictures && self.code.is_none() => ErrorKind::Unsupported,
            404 | 410 => ErrorKind::ModelNotFound,
            405 | 413 | 415 | 501 => ErrorKind::Unsupported,
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
        const OURS: [&str; 10] =
            ["prompt", "n", "size", "seed", "negative_prompt", "steps", "guidance_scale", "image", "mask", "strength"];
        let named = self.param.as_deref().filter(|field| OURS.contains(field));
        upstream::sentence(kind, named)
    }
}
