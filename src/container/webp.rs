//! WebP (RFC 9649): a RIFF file of chunks, of which one holds the picture or says how large the canvas is.

use super::reader::Source;
use super::{Broken, Depth, size_of};
use crate::generation::ImageSize;

/// Bytes of a chunk's data that hold its sizes.
const HEAD: usize = 10;

/// The size in the first chunk; of a whole walk, after every chunk up to the length that the file states.
pub(super) fn walk(file: &mut impl Source, depth: Depth) -> Result<ImageSize, Broken> {
    file.take_array::<4>()?;
    let mut left = u64::from(u32::from_le_bytes(file.take_array()?));
    file.take_array::<4>()?;
    left = left.checked_sub(4).ok_or(Broken::CutOff)?;
    let mut size = None;
    let mut has_picture = false;
    while left > 0 {
        left = left.checked_sub(8).ok_or(Broken::CutOff)?;
        let kind: [u8; 4] = file.take_array()?;
        let length = u64::from(u32::from_le_bytes(file.take_array()?));
        left = left.checked_sub(length).ok_or(Broken::CutOff)?;
        let mut rest = length;
        if size.is_none() {
            rest = rest.checked_sub(HEAD as u64).ok_or(Broken::CutOff)?;
            let head = file.take_array()?;
            let found = match &kind {
                b"VP8 " => lossy(head)?,
                b"VP8L" => lossless(head)?,
                b"VP8X" => extended(head)?,
                _ => return Err(Broken::Malformed("the first chunk is not a picture")),
            };
            if depth == Depth::Header {
                return Ok(found);
            }
            size = Some(found);
        }
        file.pass(rest, |_| {})?;
        has_picture |= matches!(&kind, b"VP8 " | b"VP8L" | b"ANMF");
        // Chunks of odd length are followed by one byte of padding, which sloppy writers leave out at the end.
        if length % 2 == 1 && left > 0 {
            file.pass(1, |_| {})?;
            left -= 1;
        }
    }
    match size {
        Some(size) if has_picture => Ok(size),
        Some(_) => Err(Broken::Malformed("there is no picture in it")),
        None => Err(Broken::CutOff),
    }
}

/// The key frame header of RFC 6386, section 9.1.
fn lossy(head: [u8; HEAD]) -> Result<ImageSize, Broken> {
    let [_, _, _, 0x9D, 0x01, 0x2A, width @ .., height_low, height_high] = head else {
        return Err(Broken::Malformed("the picture has no start code"));
    };
    let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3FFF);
    size_of(side(width), side([height_low, height_high]))
}

/// 14 bits for each side less one, after a signature byte.
fn lossless(head: [u8; HEAD]) -> Result<ImageSize, Broken> {
    let [0x2F, first, second, third, fourth, ..] = head else {
        return Err(Broken::Malformed("the picture has no signature"));
    };
    let bits = u32::from_le_bytes([first, second, third, fourth]);
    size_of((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
}

/// 24 bits for each side of the canvas less one, after the flags.
fn extended(head: [u8; HEAD]) -> Result<ImageSize, Broken> {
    let [_, _, _, _, width @ .., _, _, _] = head;
    let [.., low, middle, high] = head;
    let side = |[low, middle, high]: [u8; 3]| u32::from_le_bytes([low, middle, high, 0]) + 1;
    size_of(side(width), side([low, middle, high]))
}
