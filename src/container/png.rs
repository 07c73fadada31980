//! PNG (ISO/IEC 15948): a signature and chunks, each with its length, type and CRC-32, up to `IEND`.

use super::reader::Source;
use super::{Broken, Depth, size_of};
use crate::generation::ImageSize;

pub(super) const MAGIC: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// The size in the header; of a whole walk, after every chunk and its checksum up to the end.
pub(super) fn walk(file: &mut impl Source, depth: Depth) -> Result<ImageSize, Broken> {
    file.take_array::<8>()?;
    let mut size = None;
    let mut has_data = false;
    loop {
        let length = u32::from_be_bytes(file.take_array()?);
        let kind: [u8; 4] = file.take_array()?;
        // The checksum covers the type and the data, not the length.
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&kind);
        let mut left = u64::from(length);
        let size = if let Some(size) = size {
            size
        } else {
            if &kind != b"IHDR" || length != 13 {
                return Err(Broken::Malformed("the first chunk is not a header"));
            }
            let (width, height): ([u8; 4], [u8; 4]) = (file.take_array()?, file.take_array()?);
            checksum.update(&width);
            checksum.update(&height);
            left -= 8;
            *size.insert(size_of(u32::from_be_bytes(width), u32::from_be_bytes(height))?)
        };
        if depth == Depth::Header {
            return Ok(size);
        }
        file.pass(left, |piece| checksum.update(piece))?;
        if checksum.finalize() != u32::from_be_bytes(file.take_array()?) {
            return Err(Broken::Checksum);
        }
        has_data |= &kind == b"IDAT";
        if &kind == b"IEND" {
            return if has_data { Ok(size) } else { Err(Broken::Malformed("there is no picture in it")) };
        }
    }
}
