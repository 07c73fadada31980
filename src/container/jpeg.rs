//! JPEG (ITU-T T.81): marker segments, entropy-coded scans between them, up to the end-of-image marker.

use super::{Broken, size_of, take, take_slice};
use crate::generation::ImageSize;

pub(super) const MAGIC: &[u8] = b"\xff\xd8\xff";

const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

/// A marker and, where it has one, its segment.
struct Segment<'a> {
    marker: u8,
    body: &'a [u8],
    rest: &'a [u8],
}

/// The size in the frame header, which comes before the first scan.
pub(super) fn size(bytes: &[u8]) -> Result<ImageSize, Broken> {
    let (_, mut rest) = take::<2>(bytes)?;
    loop {
        let segment = segment(rest)?;
        if is_frame(segment.marker) {
            let (_precision, body) = take::<1>(segment.body)?;
            let (height, body) = take::<2>(body)?;
            let (width, _) = take::<2>(body)?;
            return size_of(u16::from_be_bytes(width).into(), u16::from_be_bytes(height).into());
        }
        if matches!(segment.marker, START_OF_SCAN | END_OF_IMAGE) {
            return Err(Broken::Malformed("there is no frame header"));
        }
        rest = segment.rest;
    }
}

/// The size, after every segment and scan up to the end.
pub(super) fn walk(bytes: &[u8]) -> Result<ImageSize, Broken> {
    let size = size(bytes)?;
    let (_, mut rest) = take::<2>(bytes)?;
    let mut has_scan = false;
    loop {
        let segment = segment(rest)?;
        rest = match segment.marker {
            END_OF_IMAGE if has_scan => return Ok(size),
            END_OF_IMAGE => return Err(Broken::Malformed("there is no picture in it")),
            START_OF_SCAN => {
                has_scan = true;
                after_scan(segment.rest)?
            }
            _ => segment.rest,
        };
    }
}

fn segment(bytes: &[u8]) -> Result<Segment<'_>, Broken> {
    let ([prefix], mut rest) = take::<1>(bytes)?;
    if prefix != 0xFF {
        return Err(Broken::Malformed("a marker is missing"));
    }
    let marker = loop {
        let ([byte], after) = take::<1>(rest)?;
        rest = after;
        // Any number of 0xFF may fill the space before a marker.
        if byte != 0xFF {
            break byte;
        }
    };
    if marker == END_OF_IMAGE || marker == 0x01 || (0xD0..=0xD8).contains(&marker) {
        return Ok(Segment { marker, body: &[], rest });
    }
    let (length, rest) = take::<2>(rest)?;
    let length = usize::from(u16::from_be_bytes(length));
    let (body, rest) = take_slice(rest, length.checked_sub(2).ok_or(Broken::Malformed("a segment has no length"))?)?;
    Ok(Segment { marker, body, rest })
}

/// What follows the entropy-coded data: the first 0xFF that is neither stuffing nor a restart marker.
fn after_scan(bytes: &[u8]) -> Result<&[u8], Broken> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..).ok_or(Broken::CutOff)?;
        let at = from + memchr::memchr(0xFF, rest).ok_or(Broken::CutOff)?;
        match bytes.get(at + 1).ok_or(Broken::CutOff)? {
            0x00 | 0xD0..=0xD7 => from = at + 2,
            _ => return bytes.get(at..).ok_or(Broken::CutOff),
        }
    }
}

/// `SOF0` to `SOF15`, without the three markers in between that are none.
fn is_frame(marker: u8) -> bool {
    (0xC0..=0xCF).contains(&marker) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}
