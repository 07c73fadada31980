//! What comes back.

use bytes::Bytes;

use super::{ImageSize, Seed, Wish};

/// What a provider made: whole pictures, as many as asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The pictures in order.
    pub images: Vec<GeneratedImage>,
    /// Soft wishes that were not passed on.
    pub ignored: Vec<Wish>,
    /// What it cost in US dollars, where known.
    pub cost_usd: Option<f64>,
    /// Sentences for the caller (a prompt that was cut, say).
    pub warnings: Vec<String>,
}

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedImage {
    /// The file.
    pub bytes: Bytes,
    /// Its format, by its own magic bytes.
    pub format: ImageFormat,
    /// Its size, by its own header.
    pub size: ImageSize,
    /// The seed it came from; `None` where the provider has none.
    pub seed: Option<Seed>,
}

/// The file formats that Easel hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
}

impl ImageFormat {
    /// The media type.
    pub fn mime_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}
