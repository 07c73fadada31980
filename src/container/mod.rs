//! Picture files by their containers: which format and size, and whether every byte of them is there. Pure, no pixels.

mod jpeg;
mod png;
#[cfg(test)]
pub(crate) mod sample;
mod webp;

#[cfg(test)]
mod tests;

use crate::generation::{ImageFormat, ImageSize};

/// What a file says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its format, by its magic bytes.
    pub format: ImageFormat,
    /// Its size, by its header.
    pub size: ImageSize,
}

/// What is wrong with a picture file; reads on from "picture 0 …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// No format that is known here.
    #[error("is neither PNG, JPEG nor WebP")]
    UnknownFormat,
    /// It ends early.
    #[error("is cut off")]
    CutOff,
    /// A checksum does not fit its bytes.
    #[error("is damaged: a checksum is wrong")]
    Checksum,
    /// A rule of its format is broken.
    #[error("is damaged: {0}")]
    Malformed(&'static str),
}

/// The format and size, from the first bytes alone as far as the format allows.
pub fn identify(bytes: &[u8]) -> Result<Found, Broken> {
    let (format, size) = match format(bytes)? {
        ImageFormat::Png => (ImageFormat::Png, png::size(bytes)?),
        ImageFormat::Jpeg => (ImageFormat::Jpeg, jpeg::size(bytes)?),
        ImageFormat::Webp => (ImageFormat::Webp, webp::size(bytes)?),
    };
    Ok(Found { format, size })
}

/// The same after going through the container to its end.
pub fn walk(bytes: &[u8]) -> Result<Found, Broken> {
    let (format, size) = match format(bytes)? {
        ImageFormat::Png => (ImageFormat::Png, png::walk(bytes)?),
        ImageFormat::Jpeg => (ImageFormat::Jpeg, jpeg::walk(bytes)?),
        ImageFormat::Webp => (ImageFormat::Webp, webp::walk(bytes)?),
    };
    Ok(Found { format, size })
}

fn format(bytes: &[u8]) -> Result<ImageFormat, Broken> {
    if bytes.starts_with(png::MAGIC) {
        Ok(ImageFormat::Png)
    } else if bytes.starts_with(jpeg::MAGIC) {
        Ok(ImageFormat::Jpeg)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Ok(ImageFormat::Webp)
    } else {
        Err(Broken::UnknownFormat)
    }
}

/// A size of which neither side may be 0.
fn size_of(width: u32, height: u32) -> Result<ImageSize, Broken> {
    ImageSize::new(width, height).ok_or(Broken::Malformed("a side is 0"))
}

/// The first `N` bytes and the rest.
fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Broken> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(Broken::CutOff)?;
    Ok((*head, rest))
}

/// The first `length` bytes and the rest.
fn take_slice(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), Broken> {
    bytes.split_at_checked(length).ok_or(Broken::CutOff)
}
