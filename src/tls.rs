//! The one TLS configuration of outgoing connections: roots that are compiled in, no certificate files needed.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

/// The configuration, made on first use.
///
/// # Errors
/// When the TLS library refuses its own defaults.
pub fn config() -> Result<ClientConfig, rustls::Error> {
    static TLS: OnceLock<Result<ClientConfig, rustls::Error>> = OnceLock::new();
    // reqwest's own choice of roots fails on machines without certificate files.
    let tls = TLS.get_or_init(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    });
    tls.clone()
}
