//! One request to the vendor's one address, and the body of its answer, within bounds.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};

use crate::providers::http::Clients;
use crate::providers::upstream::{self, Body, MAX_ANSWER};
use crate::providers::{Error, ErrorKind, retry_after};
use crate::secret::Secret;

/// The connection to the vendor, made on first use.
pub(super) struct Client {
    endpoint: Url,
    http: Clients,
}

/// An answer of any status.
pub(super) struct Reply {
    /// The status.
    pub status: StatusCode,
    /// When to come back, where it says so.
    pub retry_after: Option<Duration>,
    /// The body; empty where the status speaks and the body could not be had.
    pub body: Vec<u8>,
}

/// No answer that can be read.
pub(super) struct Lost {
    /// What went wrong.
    pub error: Error,
    /// Whether a look-up would say more: the vendor may have got the request, and may have another answer to it.
    pub leaves_doubt: bool,
}

impl Client {
    pub(super) fn new(endpoint: Url) -> Self {
        Self { endpoint, http: Clients::default() }
    }

    /// Sends `body` and reads the answer.
    pub(super) async fn post(&self, body: Vec<u8>, key: &Secret) -> Result<Reply, Lost> {
        let never_sent = |error| Lost { error, leaves_doubt: false };
        let request = self.http.mine().map_err(never_sent)?.post(self.endpoint.clone());
        let request = request
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, bearer(key).map_err(never_sent)?)
            .body(body);
        let response = request.send().await.map_err(|error| {
            // Without a connection nothing was sent.
            let leaves_doubt = !error.is_connect() && !error.is_builder();
            Lost { error: upstream::of_transport(error), leaves_doubt }
        })?;
        let status = response.status();
        let retry_after = retry_after::of_answer(status, response.headers());
        let lost = |error| Lost { error, leaves_doubt: true };
        if status.is_success() && upstream::is_html(&response) {
            let error = Error::new(ErrorKind::Protocol, "the provider answered with a web page");
            return Err(lost(error.with_hint("check base_url in the configuration")));
        }
        match upstream::read(response, MAX_ANSWER).await {
            Ok(Body { bytes, is_whole: true }) => Ok(Reply { status, retry_after, body: bytes }),
            Ok(Body { is_whole: false, .. }) if status.is_success() => {
                // Asking for the same results again would bring the same answer.
                let sentence = format!("the provider's answer is longer than {MAX_ANSWER} bytes");
                let error = Error::new(ErrorKind::Protocol, sentence);
                let hint = "lower limits.max_count, or set output_type = \"url\" in the configuration";
                Err(Lost { error: error.with_hint(hint), leaves_doubt: false })
            }
            Err(error) if status.is_success() => Err(lost(error)),
            Ok(_) | Err(_) => Ok(Reply { status, retry_after, body: Vec::new() }),
        }
    }
}

fn bearer(key: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| Error::new(ErrorKind::Unauthorized, "the configured key holds characters that no key has"))?;
    value.set_sensitive(true);
    Ok(value)
}
