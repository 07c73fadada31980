//! What comes back.

use super::{ImageData, ImageSize, LoraReport, Seed, Usage, Wish};

/// What a provider made: whole pictures, as many as asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Generation {
    /// The pictures in order.
    pub images: Vec<GeneratedImage>,
    /// Soft wishes that were not passed on.
    pub ignored: Vec<Wish>,
    /// What it cost in US dollars, where known.
    pub cost_usd: Option<f64>,
    /// What the provider counted, where it said so.
    pub usage: Option<Usage>,
    /// Sentences for the caller (a prompt that was cut, say).
    pub warnings: Vec<String>,
    /// How each adapter met the model, in the request's order; empty where the provider does not say.
    pub loras: Vec<LoraReport>,
}

/// A picture on its way: coarser than the one that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialImage {
    /// Which of the request's pictures.
    pub index: u32,
    /// Which of its previews, from 0.
    pub step: u32,
    /// The preview.
    pub image: GeneratedImage,
}

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedImage {
    /// The file.
    pub data: ImageData,
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
