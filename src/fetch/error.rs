//! Why there is no picture.

use std::time::Duration;

use crate::container;
use crate::generation::ImageSize;

/// Why a URL did not lead to a picture.
///
/// `Display` is a sentence for whoever gave the URL. No part of a URL stands in it, since queries carry signatures, and
/// no address that a name resolves to.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The text is no URL that could be fetched.
    #[error("the url {0}")]
    BadUrl(&'static str),
    /// The scheme is not https, nor http where that is allowed.
    #[error("the url, or one that it redirects to, is not an https:// one")]
    Scheme,
    /// The host is, or resolves to, an address that is not public.
    #[error("the url, or one that it redirects to, leads to an address that is not public")]
    ForbiddenAddress,
    /// The host's name does not resolve.
    #[error("the host of the url cannot be found")]
    Dns,
    /// There was no connection, or it ended without an answer.
    #[error("the host of the url cannot be reached, or does not answer")]
    Connect(#[source] Option<reqwest::Error>),
    /// Time ran out.
    #[error("fetching the url took longer than {0:?}")]
    Timeout(Duration),
    /// There is more of it than is allowed; holds the bytes that are.
    #[error("the file at the url is larger than {0} bytes")]
    TooLarge(usize),
    /// Redirects went on after as many as are allowed.
    #[error("the url redirects more than {0} times")]
    TooManyRedirects(usize),
    /// 403, 404 or 410: how the stores of result pictures say that a URL's time is over.
    #[error("the url has expired, or is not for everyone: its host answered {0}")]
    Expired(u16),
    /// Any other status that is no success.
    #[error("the host of the url answered {0}")]
    Status(u16),
    /// The content is no picture of a known format, whatever its `Content-Type` says.
    #[error("the file at the url is neither PNG, JPEG nor WebP")]
    NotAPicture,
    /// The picture's header says that it is larger than allowed.
    #[error("the picture at the url is {size}; at most {max_side} pixels a side and {max_pixels} in all are taken")]
    TooManyPixels {
        /// Its size.
        size: ImageSize,
        /// Longest side in pixels.
        max_side: u32,
        /// Most pixels in all.
        max_pixels: u64,
    },
    /// The connection ended within the file.
    #[error("the answer of the url's host broke off")]
    BrokenOff,
    /// The file is damaged or cut off.
    #[error("the picture at the url {0}")]
    Broken(#[source] container::Broken),
}

impl FetchError {
    /// What sort of failure it was, in a word that stays the same.
    pub fn category(&self) -> &'static str {
        match self {
            Self::BadUrl(_) => "bad_url",
            Self::Scheme => "scheme",
            Self::ForbiddenAddress => "forbidden_address",
            Self::Dns => "dns",
            Self::Connect(_) => "connect",
            Self::Timeout(_) => "timeout",
            Self::TooLarge(_) => "too_large",
            Self::TooManyRedirects(_) => "too_many_redirects",
            Self::Expired(_) => "expired",
            Self::Status(_) => "status",
            Self::NotAPicture => "not_a_picture",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::BrokenOff | Self::Broken(_) => "broken",
        }
    }
}
