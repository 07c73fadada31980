//! Pictures of an answer.

use bytes::Bytes;

use crate::container;
use crate::generation::{GeneratedImage, ImageData, Seed};
use crate::providers::{Error, ErrorKind};

/// Lines of base64 are 64 or 76 letters long where they are broken at all; nobody's are longer than this.
const WRAPPED_WITHIN: usize = 1024;

/// Picture `index` of an answer from its base64, with or without `data:image/png;base64,` before it. It stays base64
/// where it is as strict as what Easel sends itself.
///
/// # Errors
/// [`ErrorKind::Protocol`] when it is no base64 or no picture.
pub fn from_base64(index: usize, text: &Bytes, seed: Option<Seed>) -> Result<GeneratedImage, Error> {
    let text = text.slice_ref(without_data_uri(text.trim_ascii()));
    // Line breaks and missing padding are common enough. Whoever breaks lines does so early: the rest need not be searched.
    let beginning = text.get(..WRAPPED_WITHIN).unwrap_or(&text);
    if text.len().is_multiple_of(4) && !beginning.iter().any(u8::is_ascii_whitespace) {
        return known(index, ImageData::from_base64(text), seed);
    }
    let bytes = base64_simd::forgiving_decode_to_vec(&text);
    let bytes = bytes.map_err(|_| Error::new(ErrorKind::Protocol, format!("picture {index} is not base64")))?;
    from_bytes(index, bytes.into(), seed)
}

/// Picture `index` of an answer from its file.
///
/// # Errors
/// [`ErrorKind::Protocol`] when it is no picture.
fn from_bytes(index: usize, bytes: Bytes, seed: Option<Seed>) -> Result<GeneratedImage, Error> {
    known(index, bytes.into(), seed)
}

fn known(index: usize, data: ImageData, seed: Option<Seed>) -> Result<GeneratedImage, Error> {
    let found = container::identify_data(&data)
        .map_err(|error| Error::new(ErrorKind::Protocol, format!("picture {index} {error}")))?;
    Ok(GeneratedImage { data, format: found.format, size: found.size, seed })
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
