//! Picture files by their containers: which format and size, and whether every byte of them is there. Pure, no pixels.

mod jpeg;
mod png;
mod reader;
#[cfg(test)]
pub(crate) mod sample;
mod webp;

#[cfg(test)]
mod tests;

use std::io::BufRead;

use crate::generation::{ImageData, ImageFormat, ImageSize};
use reader::{Base64Reader, Source as _};

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
    /// It came as base64 and is none.
    #[error("is not base64")]
    NotBase64,
    /// A checksum does not fit its bytes.
    #[error("is damaged: a checksum is wrong")]
    Checksum,
    /// A rule of its format is broken.
    #[error("is damaged: {0}")]
    Malformed(&'static str),
}

/// How far a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Up to its size.
    Header,
    /// To its end.
    Whole,
}

/// The format and size, from the first bytes alone as far as the format allows.
pub fn identify(bytes: &[u8]) -> Result<Found, Broken> {
    look(bytes, Depth::Header)
}

/// The same after going through the container to its end.
pub fn walk(bytes: &[u8]) -> Result<Found, Broken> {
    look(bytes, Depth::Whole)
}

/// The format and size of an encoded picture, from its first bytes alone as far as the format allows.
pub fn identify_data(data: &ImageData) -> Result<Found, Broken> {
    match data.base64_text() {
        None => identify(&data.file()),
        Some(text) => look(Base64Reader::new(text), Depth::Header),
    }
}

/// The same after going through the container to its end, and through all of the base64 where that is what it is.
pub fn walk_data(data: &ImageData) -> Result<Found, Broken> {
    let Some(text) = data.base64_text() else { return walk(&data.file()) };
    let mut reader = Base64Reader::new(text);
    let found = look(&mut reader, Depth::Whole)?;
    // What follows the picture is no harm, but it must be base64.
    loop {
        let left = reader.fill_buf().map_err(|_| Broken::NotBase64)?.len();
        if left == 0 {
            return Ok(found);
        }
        reader.consume(left);
    }
}

fn look(mut file: impl BufRead, depth: Depth) -> Result<Found, Broken> {
    let format = match file.available() {
        Err(Broken::CutOff) => return Err(Broken::UnknownFormat),
        available => format(available?)?,
    };
    let size = match format {
        ImageFormat::Png => png::walk(&mut file, depth)?,
        ImageFormat::Jpeg => jpeg::walk(&mut file, depth)?,
        ImageFormat::Webp => webp::walk(&mut file, depth)?,
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
