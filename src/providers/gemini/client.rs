//! One request to the service and the body of its answer, within bounds.

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use serde_json::{Map, Value};

use super::error;
use crate::providers::http::Clients;
use crate::providers::upstream::{self, Body, MAX_ANSWER, MAX_ERROR};
use crate::providers::{Call, Error, ErrorKind};
use crate::secret::Secret;

/// The connection to the service, made on first use.
pub(super) struct Client {
    key: Option<Secret>,
    http: Clients,
}

impl Client {
    pub(super) fn new(key: Option<Secret>) -> Self {
        Self { key, http: Clients::default() }
    }

    /// Sends `body` and returns the body of a 200; every other answer is an error.
    pub(super) async fn post(&self, endpoint: &Url, body: &Map<String, Value>, call: &Call) -> Result<Vec<u8>, Error> {
        let mut request = self.http.mine()?.post(endpoint.clone()).header(ACCEPT, "application/json").json(body);
        if let Some(key) = &self.key {
            // Never as `?key=`, where proxies would log it.
            request = request.header("x-goog-api-key", header(key)?);
        }
        call.count_upstream_call();
        let response = request.send().await.map_err(upstream::of_transport)?;
        if response.status() != StatusCode::OK {
            return Err(self.failure(response).await);
        }
        if upstream::is_html(&response) {
            return Err(Error::new(ErrorKind::Protocol, "the provider answered with a web page")
                .with_hint("check base_url in the configuration"));
        }
        let Body { bytes, is_whole } = upstream::read(response, MAX_ANSWER).await?;
        if !is_whole {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("the provider's answer is longer than {MAX_ANSWER} bytes"),
            ));
        }
        Ok(bytes)
    }

    async fn failure(&self, response: Response) -> Error {
        let status = response.status();
        let headers = response.headers().clone();
        // The status tells enough where the body cannot be had.
        let body = upstream::read(response, MAX_ERROR).await.map(|body| body.bytes).unwrap_or_default();
        error::of_answer(status, &headers, &body, self.key.as_ref())
    }
}

fn header(key: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(key.expose())
        .map_err(|_| Error::new(ErrorKind::Unauthorized, "the configured key holds characters that no key has"))?;
    value.set_sensitive(true);
    Ok(value)
}
