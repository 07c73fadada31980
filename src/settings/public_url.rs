//! Where clients reach this process, as they would write it.

use serde::de::{Deserialize, Deserializer, Error};
use url::{Position, Url};

/// An `http` or `https` address, perhaps with a path, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The address without a slash at its end: a path is appended as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text.trim()).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        is_plain.then(|| Self(url[..Position::AfterPath].trim_end_matches('/').to_owned()))
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            // Not repeated: what is no such address may carry a password.
            D::Error::custom(
                "it is no address that a path can be appended to, such as \"https://pictures.example.org\" or \
                 \"https://example.org/easel\"",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_without_the_slash_at_its_end() {
        for (text, kept) in [
            ("https://Pictures.example.org", "https://pictures.example.org"),
            ("https://example.org/easel/", "https://example.org/easel"),
            (" http://[::1]:8080/ ", "http://[::1]:8080"),
        ] {
            assert_eq!(PublicUrl::parse(text), Some(PublicUrl(kept.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_or_more_than_one_is_refused() {
        for text in [
            "",
            "example.org",
            "ftp://example.org",
            "https://",
            "https://me@example.org",
            "https://a/?b",
            "https://a/#b",
        ] {
            assert_eq!(PublicUrl::parse(text), None, "{text}");
        }
    }
}
