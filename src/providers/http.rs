//! The one way to an HTTP client. It needs no certificate files, follows no redirects and repeats nothing by itself.

use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use thread_local::ThreadLocal;

use super::{Error, ErrorKind};
use crate::tls;

/// Time for a connection to stand, its handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after which an unused connection is given up: what lies between may have forgotten it without a word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client as every provider needs it; time limits beyond the connection's are the layers' business.
///
/// # Errors
/// When the TLS library refuses its own defaults.
pub fn client_builder() -> Result<ClientBuilder, rustls::Error> {
    Ok(Client::builder()
        .tls_backend_preconfigured(tls::config()?)
        .user_agent(concat!("easel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        // A redirect would carry the key elsewhere, and a repeated call would be paid twice and counted once.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never()))
}

/// The clients of one upstream: one for each thread that asks it, made when it first does. A connection belongs to the
/// thread it was opened on; used on another, every piece of an answer would wake both.
#[derive(Debug, Default)]
pub struct Clients(ThreadLocal<Option<Client>>);

impl Clients {
    /// This thread's client.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it cannot be made.
    pub fn mine(&self) -> Result<&Client, Error> {
        let client = self.0.get_or(|| client_builder().ok()?.build().ok());
        client.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "the HTTP client could not be made"))
    }
}
