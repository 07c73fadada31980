//! The one way to an HTTP client. It needs no certificate files, follows no redirects and repeats nothing by itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::ClientBuilder;
use rustls::{ClientConfig, RootCertStore};

/// Time for a connection to stand, its handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after which an unused connection is given up: what lies between may have forgotten it without a word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client as every provider needs it; time limits beyond the connection's are the layers' business.
///
/// # Errors
/// When the TLS library refuses its own defaults.
pub fn client_builder() -> Result<ClientBuilder, rustls::Error> {
    static TLS: OnceLock<Result<ClientConfig, rustls::Error>> = OnceLock::new();
    // Roots that are compiled in: reqwest's own choice fails on machines without certificate files.
    let tls = TLS.get_or_init(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    });
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone()?)
        .user_agent(concat!("easel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        // A redirect would carry the key elsewhere, and a repeated call would be paid twice and counted once.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never()))
}
