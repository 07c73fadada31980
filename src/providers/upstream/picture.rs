//! Pictures of an answer.

use bytes::Bytes;

use crate::container;
use crate::generation::{GeneratedImage, Seed};
use crate::providers::{Error, ErrorKind};

/// Picture `index` of an answer from its base64, with or without `data:image/png;base64,` before it.
///
/// # Errors
/// [`ErrorKind::Protocol`] when it is no base64 or no picture.
pub fn from_base64(index: usize, text: &[u8], seed: Option<Seed>) -> Result<GeneratedImage, Error> {
    let text = without_data_uri(text.trim_ascii());
    let bytes = base64_simd::STANDARD
        .decode_to_vec(text)
        // Line breaks and missing padding are common enough.
        .or_else(|_| base64_simd::forgiving_decode_to_vec(text));
    let bytes = bytes.map_err(|_| Error::new(ErrorKind::Protocol, format!("picture {index} is not base64")))?;
    from_bytes(index, bytes.into(), seed)
}

/// Picture `index` of an answer from its file.
///
/// # Errors
/// [`ErrorKind::Protocol`] when it is no picture.
pub fn from_bytes(index: usize, bytes: Bytes, seed: Option<Seed>) -> Result<GeneratedImage, Error> {
    let found = container::identify(&bytes)
        .map_err(|error| Error::new(ErrorKind::Protocol, format!("picture {index} {error}")))?;
    Ok(GeneratedImage { bytes, format: found.format, size: found.size, seed })
}

/// The base64 behind `data:image/png;base64,`.
fn without_data_uri(text: &[u8]) -> &[u8] {
    const BEFORE: &[u8] = b";base64,";
    if !text.starts_with(b"data:") {
        return text;
    }
    // Only the beginning is looked at: the rest may be megabytes.
    let head = text.get(..64).unwrap_or(text);
    let at = head.windows(BEFORE.len()).position(|part| part == BEFORE);
    at.and_then(|at| text.get(at + BEFORE.len()..)).unwrap_or(text)
}
