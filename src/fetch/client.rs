//! The two HTTP clients: one that connects to public addresses only, and one for origins that are allowed as they are.
//!
//! They share no connections, so that one that was opened for an allowed origin never serves a URL that is not.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};
use reqwest::{Client, Response};
use url::Url;

use super::FetchError;
use super::resolve::{Guard, Refused, Resolve};
use crate::tls;

/// Time for a connection to stand: the name, its addresses, which share it, and the handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after which an unused connection is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Unused connections kept for each host: several pictures of one answer lie at the same one.
const IDLE_PER_HOST: usize = 4;

/// A client, made on first use.
pub(super) struct GuardedClient {
    resolver: Arc<dyn Resolve>,
    may: Option<fn(IpAddr) -> bool>,
    client: OnceLock<Option<Client>>,
}

impl GuardedClient {
    /// A client that connects to those addresses of a name for which `may` holds; absent: to all.
    ///
    /// A host that is an address is never resolved, so the guard does not see it: check it before.
    pub(super) fn new(resolver: Arc<dyn Resolve>, may: Option<fn(IpAddr) -> bool>) -> Self {
        Self { resolver, may, client: OnceLock::new() }
    }

    /// Asks for `url` and returns the head of the answer.
    pub(super) async fn get(&self, url: Url) -> Result<Response, FetchError> {
        let client = self.client.get_or_init(|| self.build()).as_ref().ok_or(FetchError::Connect(None))?;
        let request = client
            .get(url)
            .header(ACCEPT, HeaderValue::from_static("image/png, image/jpeg, image/webp"))
            // A compressed answer could be a thousand times larger than it looks.
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request.send().await.map_err(|error| failure(error.without_url()))
    }

    fn build(&self) -> Option<Client> {
        Client::builder()
            .tls_backend_preconfigured(tls::config().ok()?)
            .user_agent(concat!("easel/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Guard { inner: Arc::clone(&self.resolver), may: self.may })
            // A proxy would resolve the name again, out of the guard's sight.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            // Every hop is checked before it is taken.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .build()
            .ok()
    }
}

fn failure(error: reqwest::Error) -> FetchError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(current) = cause {
        match current.downcast_ref::<Refused>() {
            Some(Refused::Forbidden) => return FetchError::ForbiddenAddress,
            Some(Refused::Unresolved) => return FetchError::Dns,
            None => cause = current.source(),
        }
    }
    if error.is_builder() {
        return FetchError::BadUrl("cannot be sent as a request");
    }
    // No other limit of time is set on the client.
    if error.is_timeout() {
        return FetchError::Timeout(CONNECT_TIMEOUT);
    }
    FetchError::Connect(Some(error))
}
