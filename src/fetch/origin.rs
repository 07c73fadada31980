//! An origin: scheme, host and port. Two URLs are of one origin when all three are the same.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// An `http` or `https` origin, in the one spelling that the URL standard gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scheme {
    Http,
    Https,
}

/// The text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is a scheme and a host, with a port where it is not the usual one, such as \"http://10.0.0.7:9000\""
)]
pub struct NoOrigin;

impl Origin {
    /// The origin of a URL; `None` where it is neither `http` nor `https`.
    pub fn of(url: &Url) -> Option<Self> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        Some(Self { scheme, host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Whether it is `https`.
    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    /// Reads `scheme://host[:port]`; a path, a query, a fragment or a user would promise what an origin cannot keep.
    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let url = Url::parse(text.trim()).map_err(|_| NoOrigin)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let has_user = !url.username().is_empty() || url.password().is_some();
        if !is_bare || has_user {
            return Err(NoOrigin);
        }
        Self::of(&url).ok_or(NoOrigin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn origins_are_compared_by_what_they_mean() {
        let same = [
            ("https://Cdn.Example/", "https://cdn.example:443"),
            ("http://127.1", "http://127.0.0.1:80/"),
            ("http://[0:0::1]:81", "http://[::1]:81"),
        ];
        for (left, right) in same {
            assert_eq!(left.parse::<Origin>().unwrap(), right.parse().unwrap());
        }
        let different = [
            ("https://cdn.example", "http://cdn.example"),
            ("https://cdn.example", "https://cdn.example:444"),
            ("https://cdn.example", "https://cdn.example.org"),
            ("http://cdn.example:443", "https://cdn.example:443"),
        ];
        for (left, right) in different {
            assert_ne!(left.parse::<Origin>().unwrap(), right.parse().unwrap());
        }
    }

    #[test]
    fn what_says_more_or_less_than_an_origin_is_refused() {
        for text in [
            "",
            "cdn.example",
            "//cdn.example",
            "ftp://cdn.example",
            "https://",
            "https://cdn.example/pictures",
            "https://cdn.example/?a",
            "https://cdn.example/#a",
            "https://user@cdn.example",
            "https://*.cdn.example:x",
            "https://cdn.example:99999",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
