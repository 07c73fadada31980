//! WebP (RFC 9649): a RIFF file of chunks, of which one holds the picture or says how large the canvas is.

use super::{Broken, size_of, take, take_slice};
use crate::generation::ImageSize;

/// `RIFF`, a length and `WEBP`.
const HEADER: usize = 12;

/// The size in the first chunk.
pub(super) fn size(bytes: &[u8]) -> Result<ImageSize, Broken> {
    let (_, rest) = take_slice(bytes, HEADER)?;
    let (kind, rest) = take::<4>(rest)?;
    let (_length, data) = take::<4>(rest)?;
    match &kind {
        b"VP8 " => lossy(data),
        b"VP8L" => lossless(data),
        b"VP8X" => extended(data),
        _ => Err(Broken::Malformed("the first chunk is not a picture")),
    }
}

/// The size, after every chunk up to the length that the file states.
pub(super) fn walk(bytes: &[u8]) -> Result<ImageSize, Broken> {
    let size = size(bytes)?;
    let (_, rest) = take::<4>(bytes)?;
    let (length, rest) = take::<4>(rest)?;
    let (file, _) = take_slice(rest, as_length(length)?)?;
    let (_, mut rest) = take::<4>(file)?;
    let mut has_picture = false;
    while !rest.is_empty() {
        let (kind, after) = take::<4>(rest)?;
        let (length, after) = take::<4>(after)?;
        let length = as_length(length)?;
        let (_, after) = take_slice(after, length)?;
        has_picture |= matches!(&kind, b"VP8 " | b"VP8L" | b"ANMF");
        // Chunks of odd length are followed by one byte of padding, which sloppy writers leave out at the end.
        rest = after.get(length % 2..).unwrap_or_default();
    }
    if has_picture { Ok(size) } else { Err(Broken::Malformed("there is no picture in it")) }
}

fn as_length(bytes: [u8; 4]) -> Result<usize, Broken> {
    usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| Broken::CutOff)
}

/// The key frame header of RFC 6386, section 9.1.
fn lossy(data: &[u8]) -> Result<ImageSize, Broken> {
    let (_tag, data) = take::<3>(data)?;
    let (start, data) = take::<3>(data)?;
    if start != [0x9D, 0x01, 0x2A] {
        return Err(Broken::Malformed("the picture has no start code"));
    }
    let (width, data) = take::<2>(data)?;
    let (height, _) = take::<2>(data)?;
    let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3FFF);
    size_of(side(width), side(height))
}

/// 14 bits for each side less one, after a signature byte.
fn lossless(data: &[u8]) -> Result<ImageSize, Broken> {
    let ([signature], data) = take::<1>(data)?;
    if signature != 0x2F {
        return Err(Broken::Malformed("the picture has no signature"));
    }
    let (bits, _) = take::<4>(data)?;
    let bits = u32::from_le_bytes(bits);
    size_of((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
}

/// 24 bits for each side of the canvas less one, after the flags.
fn extended(data: &[u8]) -> Result<ImageSize, Broken> {
    let (_flags, data) = take::<4>(data)?;
    let (width, data) = take::<3>(data)?;
    let (height, _) = take::<3>(data)?;
    let side = |[low, middle, high]: [u8; 3]| u32::from_le_bytes([low, middle, high, 0]) + 1;
    size_of(side(width), side(height))
}
