//! The one way to an HTTP client. It needs no certificate files, follows no redirects and repeats nothing by itself.

use std::time::Duration;

use reqwest::ClientBuilder;

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
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config()?)
        .user_agent(concat!("easel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        // A redirect would carry the key elsewhere, and a repeated call would be paid twice and counted once.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never()))
}
