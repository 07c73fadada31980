//! The body of an answer: read within bounds, and parsed without copying its pictures.

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::{Lifted, Noted, of_body};
use crate::providers::{Error, ErrorKind};

/// Longest answer: a dozen large pictures.
pub const MAX_ANSWER: usize = 64 << 20;
/// As much of an error's body as is read.
pub const MAX_ERROR: usize = 64 << 10;

/// Answers above this are decoded away from the threads that serve everybody else.
const LARGE: usize = 4 << 20;

/// What was read of an answer.
pub struct Body {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether all of it is there.
    pub is_whole: bool,
}

/// A text that is not copied unless it holds escapes.
#[derive(Debug, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Reads up to `most` bytes.
///
/// # Errors
/// [`ErrorKind::Protocol`] when the answer breaks off.
pub async fn read(mut response: Response, most: usize) -> Result<Body, Error> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    // An announcement alone allocates no more than is read in a moment anyway.
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(most).min(8 << 20));
    while let Some(chunk) = response.chunk().await.map_err(of_body)? {
        let room = most - bytes.len();
        if chunk.len() > room {
            bytes.extend_from_slice(chunk.get(..room).unwrap_or_default());
            return Ok(Body { bytes, is_whole: false });
        }
        bytes.extend_from_slice(&chunk);
    }
    // Whoever keeps a picture of it keeps all of it; no room beyond its end shall be kept with it.
    bytes.shrink_to_fit();
    Ok(Body { bytes, is_whole: true })
}

/// Whether the answer says that it is a web page: a captive portal, a proxy's error, a wrong address.
pub fn is_html(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// Does `work` on `body`, away from the threads that serve everybody else where it is long.
///
/// # Errors
/// What `work` says; [`ErrorKind::Internal`] when it broke off.
pub async fn decode<T: Send + 'static>(
    body: Vec<u8>,
    work: impl FnOnce(&Bytes) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let body = Bytes::from(body);
    if body.len() < LARGE {
        return work(&body);
    }
    tokio::task::spawn_blocking(move || work(&body)).await.unwrap_or_else(|broken| {
        Err(Error::new(ErrorKind::Internal, "reading the provider's answer broke off").with_source(broken))
    })
}

/// The JSON of an answer whose long strings were lifted out.
///
/// # Errors
/// [`ErrorKind::Protocol`] when it is not the JSON that was expected.
pub fn parse<'a, T: Deserialize<'a>>(lifted: &'a Lifted<'_>) -> Result<T, Error> {
    serde_json::from_slice(&lifted.text).map_err(|error| {
        // Serde's own sentence may quote the body; where it stopped says enough.
        let place = Noted::new(format!("reading stopped at line {}, column {}", error.line(), error.column()));
        Error::new(ErrorKind::Protocol, "the provider's answer is not the JSON that was expected").with_source(place)
    })
}
