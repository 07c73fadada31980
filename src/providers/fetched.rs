//! What becomes of a picture that an upstream answered by URL and that could not be had.

use super::{Error, ErrorKind};
use crate::fetch::FetchError;

impl From<FetchError> for Error {
    /// The failure as one of the provider's: it gave the URL.
    fn from(error: FetchError) -> Self {
        let kind = match &error {
            FetchError::Timeout(_) => ErrorKind::Timeout,
            FetchError::Dns | FetchError::Connect(_) | FetchError::Status(_) => ErrorKind::Unavailable,
            FetchError::Expired(_) => ErrorKind::NoImage,
            FetchError::BadUrl(_)
            | FetchError::Scheme
            | FetchError::ForbiddenAddress
            | FetchError::TooLarge(_)
            | FetchError::TooManyRedirects(_)
            | FetchError::NotAPicture
            | FetchError::TooManyPixels { .. }
            | FetchError::BrokenOff
            | FetchError::Broken(_) => ErrorKind::Protocol,
        };
        Self::new(kind, format!("the provider's picture could not be fetched: {error}")).with_source(error)
    }
}
