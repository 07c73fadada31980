//! Keeps web pages elsewhere from driving an Easel on this machine through its owner's browser.
//!
//! A page at another site can send requests to `http://127.0.0.1:8080`, and a name of its own can be made to resolve
//! there (DNS rebinding). So on a loopback bind the `Host` must be a loopback name, and a browser's `Origin` and
//! `Sec-Fetch-Site` must not speak of another site.

use std::net::SocketAddr;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::State;
use super::error::{ApiError, Code};

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Which names a request may be made to; `None`: any.
#[derive(Debug, Clone)]
pub struct Hosts {
    allowed: Option<Vec<String>>,
}

impl Hosts {
    /// The loopback names and `more` on a loopback bind; elsewhere any name unless `more` names some.
    pub fn new(address: SocketAddr, more: &[String]) -> Self {
        let checked = address.ip().is_loopback() || !more.is_empty();
        let names = LOOPBACK.into_iter().map(str::to_owned).chain(more.iter().map(|name| name.to_lowercase()));
        Self { allowed: checked.then(|| names.collect()) }
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let is_allowed = |host: &str| allowed.iter().any(|name| *name == without_port(host).to_lowercase());
        let host = match headers.get(header::HOST) {
            Some(host) => host.to_str().unwrap_or_default(),
            None => uri.authority().map(Authority::as_str).unwrap_or_default(),
        };
        if headers.get_all(header::HOST).count() > 1 || !is_allowed(host) {
            let detail = "the Host header does not name this machine";
            let hint = "use http://localhost or http://127.0.0.1, or add the name to [server] allowed_hosts";
            return Err(ApiError::new(Code::HostNotAllowed, detail, hint));
        }
        let foreign = || {
            let detail = "the request comes from a web page of another site";
            let hint = "open the page from this machine, or add its host to [server] allowed_hosts";
            ApiError::new(Code::OriginNotAllowed, detail, hint)
        };
        if let Some(origin) = headers.get(header::ORIGIN) {
            let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
            return if host.is_some_and(is_allowed) { Ok(()) } else { Err(foreign()) };
        }
        let says = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
        // Following a link to the documentation does no harm; anything else from another site is refused.
        let link = method == Method::GET && says("sec-fetch-mode", "navigate");
        if says("sec-fetch-site", "cross-site") && !link { Err(foreign()) } else { Ok(()) }
    }
}

/// `localhost:8080` without its port, `[::1]:8080` as `[::1]`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => {
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        Some(_) | None => host,
    }
}

/// The middleware itself.
pub async fn check_host(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match state.hosts.check(request.method(), request.uri(), request.headers()) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(error) => Ok(request.error_response(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn ports_are_cut_off() {
        for (host, name) in [
            ("localhost:8080", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("evil.example:80:80", "evil.example:80:80"),
            (":80", ":80"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
