//! Reading an answer as a picture, within bounds. What the other side says about its length and type is not believed.

use bytes::Bytes;
use reqwest::Response;

use super::{FetchError, Picture, Rules};
use crate::container::{self, Broken, Found};

/// As many bytes tell every known format.
const MAGIC: usize = 12;

/// Memory that is taken before anything was read, in bytes.
const MOST_AT_ONCE: usize = 8 << 20;

/// Reads the whole answer. It stops as soon as it is clear that nothing can come of it.
pub(super) async fn picture(mut response: Response, rules: &Rules) -> Result<Picture, FetchError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > u64::try_from(rules.max_bytes).unwrap_or(u64::MAX) {
        return Err(FetchError::TooLarge(rules.max_bytes));
    }
    // An announcement alone takes no more than is read in a moment anyway.
    let room = usize::try_from(announced).unwrap_or(0).min(MOST_AT_ONCE);
    let mut bytes = Vec::with_capacity(room);
    let mut known = None;
    let mut look_at = MAGIC;
    while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::BrokenOff)? {
        if chunk.len() > rules.max_bytes - bytes.len() {
            return Err(FetchError::TooLarge(rules.max_bytes));
        }
        bytes.extend_from_slice(&chunk);
        // Looking only at every doubling keeps a header that never ends from being read over and over.
        if known.is_none() && bytes.len() >= look_at {
            known = header(&bytes, rules)?;
            look_at = 2 * bytes.len();
        }
    }
    let found = container::walk(&bytes).map_err(broken)?;
    check_size(found, rules)?;
    Ok(Picture { bytes: Bytes::from(bytes), format: found.format, size: found.size })
}

/// What the first bytes say; `None` while there are too few of them.
fn header(bytes: &[u8], rules: &Rules) -> Result<Option<Found>, FetchError> {
    match container::identify(bytes) {
        Ok(found) => check_size(found, rules).map(|()| Some(found)),
        Err(Broken::CutOff) => Ok(None),
        Err(error) => Err(broken(error)),
    }
}

fn check_size(found: Found, rules: &Rules) -> Result<(), FetchError> {
    let size = found.size;
    let (max_side, max_pixels) = (rules.max_side, rules.max_pixels);
    if size.width.get() > max_side || size.height.get() > max_side || size.pixels() > max_pixels {
        return Err(FetchError::TooManyPixels { size, max_side, max_pixels });
    }
    Ok(())
}

fn broken(error: Broken) -> FetchError {
    match error {
        Broken::UnknownFormat => FetchError::NotAPicture,
        Broken::CutOff | Broken::NotBase64 | Broken::Checksum | Broken::Malformed(_) => FetchError::Broken(error),
    }
}
