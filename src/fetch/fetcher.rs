//! One URL followed to its picture, every hop checked before it is taken.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::LOCATION;
use url::{Host, Url};

use super::client::GuardedClient;
use super::resolve::{Resolve, SystemResolver};
use super::{FetchError, Origin, address, body};
use crate::generation::{ImageFormat, ImageSize, SourceImage};

/// Signed URLs are long, but not longer.
const MAX_URL: usize = 8 << 10;

/// How far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether `http` is taken for public addresses.
    pub allow_http: bool,
    /// Origins that are taken as they are: with a private address, and with `http`.
    pub allowed_origins: Vec<Origin>,
    /// Largest file in bytes.
    pub max_bytes: usize,
    /// Time for the whole of it: names, connections, redirects and the last byte.
    pub timeout: Duration,
    /// Longest side of a picture in pixels.
    pub max_side: u32,
    /// Most pixels of a picture.
    pub max_pixels: u64,
    /// Redirects that are followed.
    pub max_redirects: usize,
}

/// A whole picture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub bytes: Bytes,
    /// Its format, by its own magic bytes.
    pub format: ImageFormat,
    /// Its size, by its own header.
    pub size: ImageSize,
}

impl From<Picture> for SourceImage {
    fn from(picture: Picture) -> Self {
        let Picture { bytes, format, size } = picture;
        Self { bytes, format, size }
    }
}

/// Fetches pictures under one set of rules.
pub struct Fetcher {
    rules: Rules,
    is_public: fn(IpAddr) -> bool,
    /// For URLs that lead wherever their author likes.
    guarded: GuardedClient,
    /// For origins that the configuration names.
    open: GuardedClient,
}

impl Fetcher {
    /// A fetcher that asks the system what names mean. It connects to nothing yet.
    pub fn new(rules: Rules) -> Self {
        Self::with_resolver(rules, Arc::new(SystemResolver))
    }

    /// The same with another way to learn what names mean. Its answers are checked like the system's.
    pub fn with_resolver(rules: Rules, resolver: Arc<dyn Resolve>) -> Self {
        Self::assemble(rules, resolver, address::is_public)
    }

    pub(super) fn assemble(rules: Rules, resolver: Arc<dyn Resolve>, is_public: fn(IpAddr) -> bool) -> Self {
        let guarded = GuardedClient::new(Arc::clone(&resolver), Some(is_public));
        Self { rules, is_public, guarded, open: GuardedClient::new(resolver, None) }
    }

    /// How far it goes.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Fetches the picture at `url`.
    ///
    /// `own` is the configured origin of the provider that answered the URL: it is taken as it is for the first hop and
    /// for redirects that stay on it. Once a redirect has left it, it is an origin like any other.
    ///
    /// # Errors
    /// Whatever kept it from a whole picture within the rules.
    pub async fn picture(&self, url: &str, own: Option<&Origin>) -> Result<Picture, FetchError> {
        let fetch = async { body::picture(self.follow(url, own).await?, &self.rules).await };
        let timeout = self.rules.timeout;
        tokio::time::timeout(timeout, fetch).await.unwrap_or(Err(FetchError::Timeout(timeout)))
    }

    /// Follows redirects up to an answer that is a success.
    async fn follow(&self, url: &str, mut own: Option<&Origin>) -> Result<Response, FetchError> {
        if url.len() > MAX_URL {
            return Err(FetchError::BadUrl("is too long"));
        }
        let mut url =
            Url::parse(url).map_err(|_| FetchError::BadUrl("is not a whole one, such as https://host/path"))?;
        for _ in 0..=self.rules.max_redirects {
            let origin = Origin::of(&url).ok_or(FetchError::Scheme)?;
            own = own.filter(|own| **own == origin);
            let is_allowed = own.is_some() || self.rules.allowed_origins.contains(&origin);
            self.check(&url, &origin, is_allowed)?;
            let client = if is_allowed { &self.open } else { &self.guarded };
            let response = client.get(url.clone()).await?;
            match response.status().as_u16() {
                200 => return Ok(response),
                301 | 302 | 303 | 307 | 308 => url = target(&url, &response)?,
                status @ (403 | 404 | 410) => return Err(FetchError::Expired(status)),
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::TooManyRedirects(self.rules.max_redirects))
    }

    /// Whether a hop may be taken, by all that its URL says. What a name resolves to is checked when it is connected to.
    fn check(&self, url: &Url, origin: &Origin, is_allowed: bool) -> Result<(), FetchError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::BadUrl("carries a user or a password"));
        }
        if is_allowed {
            return Ok(());
        }
        if !origin.is_https() && !self.rules.allow_http {
            return Err(FetchError::Scheme);
        }
        let is_public = match url.host() {
            Some(Host::Ipv4(address)) => (self.is_public)(address.into()),
            Some(Host::Ipv6(address)) => (self.is_public)(address.into()),
            Some(Host::Domain(name)) => address::may_be_public(name),
            None => false,
        };
        if is_public { Ok(()) } else { Err(FetchError::ForbiddenAddress) }
    }
}

/// Where a redirect leads.
fn target(from: &Url, response: &Response) -> Result<Url, FetchError> {
    let location = response.headers().get(LOCATION).ok_or(FetchError::BadUrl("redirects without saying where to"))?;
    let location = location.to_str().ok().filter(|location| location.len() <= MAX_URL);
    location
        .and_then(|location| from.join(location).ok())
        .ok_or(FetchError::BadUrl("redirects to something that is no url"))
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Rules {
    /// The defaults of the settings, with these origins allowed.
    pub(crate) fn for_tests(allowed_origins: &[&str]) -> Self {
        Self {
            allow_http: false,
            allowed_origins: allowed_origins.iter().map(|origin| origin.parse().unwrap()).collect(),
            max_bytes: 20 << 20,
            timeout: Duration::from_secs(15),
            max_side: 8192,
            max_pixels: 1 << 26,
            max_redirects: 3,
        }
    }
}
