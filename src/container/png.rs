//! PNG (ISO/IEC 15948): a signature and chunks, each with its length, type and CRC-32, up to `IEND`.

use super::{Broken, size_of, take, take_slice};
use crate::generation::ImageSize;

pub(super) const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The size in the header.
pub(super) fn size(bytes: &[u8]) -> Result<ImageSize, Broken> {
    let (_, rest) = take_slice(bytes, MAGIC.len())?;
    let (length, rest) = take::<4>(rest)?;
    let (kind, rest) = take::<4>(rest)?;
    if &kind != b"IHDR" || u32::from_be_bytes(length) != 13 {
        return Err(Broken::Malformed("the first chunk is not a header"));
    }
    let (width, rest) = take::<4>(rest)?;
    let (height, _) = take::<4>(rest)?;
    size_of(u32::from_be_bytes(width), u32::from_be_bytes(height))
}

/// The size, after every chunk and its checksum up to the end.
pub(super) fn walk(bytes: &[u8]) -> Result<ImageSize, Broken> {
    let size = size(bytes)?;
    let (_, mut rest) = take_slice(bytes, MAGIC.len())?;
    let mut has_data = false;
    loop {
        let (length, after) = take::<4>(rest)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Broken::CutOff)?;
        // The checksum covers the type and the data, not the length.
        let (covered, after) = take_slice(after, length.checked_add(4).ok_or(Broken::CutOff)?)?;
        let (checksum, after) = take::<4>(after)?;
        if crc32fast::hash(covered) != u32::from_be_bytes(checksum) {
            return Err(Broken::Checksum);
        }
        has_data |= covered.starts_with(b"IDAT");
        if covered.starts_with(b"IEND") {
            return if has_data { Ok(size) } else { Err(Broken::Malformed("there is no picture in it")) };
        }
        rest = after;
    }
}
