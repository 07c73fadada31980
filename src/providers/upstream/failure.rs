//! What an upstream's failures are called. Its own words never leave a provider: the caller gets ours, and the log gets
//! the status and plain codes.

use std::fmt;

use crate::providers::{Error, ErrorKind};
use crate::secret::Secret;

/// What the log learns of an upstream's answer: statuses, codes, places; never its sentences.
#[derive(Debug)]
pub struct Noted(String);

impl Noted {
    /// A note for the log.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Noted {}

/// No answer at all.
pub fn of_transport(error: reqwest::Error) -> Error {
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
pub fn of_body(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Protocol, "the provider's answer broke off").with_source(error.without_url())
}

/// `text` if it is a plain word (a code, a type) that holds nothing of `key`: an upstream that echoes what it was sent
/// must not bring the key into the log.
pub fn plain_word(text: &str, key: Option<&Secret>) -> Option<String> {
    let is_plain = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let is_key = key.is_some_and(|key| text.contains(key.expose()) || key.expose().contains(text) && text.len() > 7);
    (is_plain && !is_key).then(|| text.to_owned())
}

/// The sentence for the caller; `field` is the request's field that is to blame, where that is known.
pub fn sentence(kind: ErrorKind, field: Option<&str>) -> String {
    let field = || field.map(|field| format!(" because of `{field}`")).unwrap_or_default();
    match kind {
        ErrorKind::InvalidRequest => format!("the provider refused the request{}", field()),
        ErrorKind::Unsupported => format!("the provider cannot do what was asked{}", field()),
        ErrorKind::ContentRejected => "the provider refused the prompt or the pictures".to_owned(),
        ErrorKind::Unauthorized => "the provider refused the key".to_owned(),
        ErrorKind::ModelNotFound => "the provider does not know the model".to_owned(),
        ErrorKind::QuotaExhausted => "the account at the provider has nothing left".to_owned(),
        ErrorKind::RateLimited => "the provider takes no more requests for now".to_owned(),
        ErrorKind::Overloaded => "the provider has too much to do".to_owned(),
        ErrorKind::OutOfMemory => "the provider has too little memory for this".to_owned(),
        ErrorKind::Timeout => "the provider gave up for lack of time".to_owned(),
        ErrorKind::Unavailable => "the provider is out of order".to_owned(),
        ErrorKind::NoImage => "the provider answered without a picture".to_owned(),
        ErrorKind::Protocol => "the provider answered in a way that is not understood".to_owned(),
        ErrorKind::Internal => "asking the provider failed".to_owned(),
    }
}

/// What to do about it, where the kind alone says so.
pub fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Unauthorized => Some("check the key and what it may do at the provider"),
        ErrorKind::ModelNotFound => Some("check the model's id and the address in the configuration"),
        ErrorKind::QuotaExhausted => Some("add credit at the provider"),
        ErrorKind::ContentRejected => Some("change the prompt"),
        ErrorKind::OutOfMemory => Some("ask for smaller or fewer pictures"),
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
