//! JPEG (ITU-T T.81): marker segments, entropy-coded scans between them, up to the end-of-image marker.

use super::reader::Source;
use super::{Broken, Depth, size_of};
use crate::generation::ImageSize;

pub(super) const MAGIC: &[u8; 3] = b"\xff\xd8\xff";

const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

/// The size in the frame header, which comes before the first scan; of a whole walk, after every segment and scan up to
/// the end.
pub(super) fn walk(file: &mut impl Source, depth: Depth) -> Result<ImageSize, Broken> {
    file.take_array::<2>()?;
    let mut size = None;
    let mut has_scan = false;
    let mut next = marker(file)?;
    loop {
        let marker = next;
        match (marker, size) {
            (START_OF_SCAN | END_OF_IMAGE, None) => return Err(Broken::Malformed("there is no frame header")),
            (END_OF_IMAGE, Some(size)) if has_scan => return Ok(size),
            (END_OF_IMAGE, Some(_)) => return Err(Broken::Malformed("there is no picture in it")),
            _ => {}
        }
        if stands_alone(marker) {
            next = self::marker(file)?;
            continue;
        }
        let length = u16::from_be_bytes(file.take_array()?);
        let mut left = u64::from(length.checked_sub(2).ok_or(Broken::Malformed("a segment has no length"))?);
        if is_frame(marker) && size.is_none() {
            left = left.checked_sub(5).ok_or(Broken::CutOff)?;
            let [_precision] = file.take_array()?;
            let (height, width) = (u16::from_be_bytes(file.take_array()?), u16::from_be_bytes(file.take_array()?));
            let found = size_of(width.into(), height.into())?;
            if depth == Depth::Header {
                return Ok(found);
            }
            size = Some(found);
        }
        file.pass(left, |_| {})?;
        has_scan |= marker == START_OF_SCAN;
        next = if marker == START_OF_SCAN { pass_scan(file)? } else { self::marker(file)? };
    }
}

/// The next marker; any number of 0xFF may fill the space before it.
fn marker(file: &mut impl Source) -> Result<u8, Broken> {
    if file.take_array()? != [0xFF] {
        return Err(Broken::Malformed("a marker is missing"));
    }
    loop {
        let [byte] = file.take_array()?;
        if byte != 0xFF {
            return Ok(byte);
        }
    }
}

/// Goes over the entropy-coded data and the marker that ends it: what follows a 0xFF and is neither stuffing nor a
/// restart.
fn pass_scan(file: &mut impl Source) -> Result<u8, Broken> {
    loop {
        let available = file.available()?;
        let (passed, found) = match memchr::memchr(0xFF, available) {
            Some(at) => (at, true),
            None => (available.len(), false),
        };
        file.consume(passed);
        if found {
            match marker(file)? {
                0x00 | 0xD0..=0xD7 => {}
                marker => return Ok(marker),
            }
        }
    }
}

fn stands_alone(marker: u8) -> bool {
    marker == 0x01 || (0xD0..=0xD8).contains(&marker)
}

/// `SOF0` to `SOF15`, without the three markers in between that are none.
fn is_frame(marker: u8) -> bool {
    (0xC0..=0xCF).contains(&marker) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}
