//! Pictures in the file format that was asked for. Bytes that already have it stay as they are.

use std::io::Cursor;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageReader, Limits, Rgba};
use tokio::sync::Semaphore;

use crate::generation::{GeneratedImage, Generation, ImageFormat};
use crate::providers::{Error, ErrorKind};

/// Longest side that is decoded.
const MAX_SIDE: u32 = 8192;
/// Most memory that one decoder may take: a picture of the longest sides, at 4 bytes a pixel.
const MAX_BYTES: u64 = 4 * (MAX_SIDE as u64) * (MAX_SIDE as u64);
/// How good a JPEG is, of 100.
const JPEG_QUALITY: u8 = 92;

/// Pictures being converted at once, so that a burst takes neither all cores nor all memory.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Converts every picture to `format`; absent, they stay as they are.
///
/// # Errors
/// [`ErrorKind::Protocol`] when a picture cannot be decoded: its container was whole, so its maker is to blame.
pub(super) async fn convert(mut generation: Generation, format: Option<ImageFormat>) -> Result<Generation, Error> {
    let Some(format) = format else { return Ok(generation) };
    for image in &mut generation.images {
        if image.format != format {
            let source = image.clone();
            let _turn = TURNS.acquire().await;
            let task = tokio::task::spawn_blocking(move || recode(&source, format));
            let bytes = task.await.map_err(|error| {
                Error::new(ErrorKind::Internal, "the conversion of a picture broke off").with_source(error)
            })?;
            image.bytes = bytes.map_err(|error| {
                Error::new(ErrorKind::Protocol, "the provider's picture cannot be decoded").with_source(error)
            })?;
            image.format = format;
        }
    }
    Ok(generation)
}

fn recode(source: &GeneratedImage, format: ImageFormat) -> Result<Bytes, image::ImageError> {
    let known = match source.format {
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Webp => image::ImageFormat::WebP,
    };
    let mut decoder = ImageReader::with_format(Cursor::new(&source.bytes), known).into_decoder()?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits.check_dimensions(decoder.dimensions().0, decoder.dimensions().1)?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let picture = DynamicImage::from_decoder(decoder)?;

    let mut bytes = Vec::new();
    match format {
        ImageFormat::Png => picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)?,
        ImageFormat::Jpeg => {
            JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(&on_white(picture))?;
        }
        ImageFormat::Webp => {
            let (width, height) = (picture.width(), picture.height());
            let encoder = WebPEncoder::new_lossless(&mut bytes);
            if picture.color().has_alpha() {
                encoder.write_image(&picture.into_rgba8(), width, height, image::ExtendedColorType::Rgba8)?;
            } else {
                encoder.write_image(&picture.into_rgb8(), width, height, image::ExtendedColorType::Rgb8)?;
            }
        }
    }
    Ok(Bytes::from(bytes))
}

/// JPEG knows no transparency: what shines through is white.
fn on_white(picture: DynamicImage) -> DynamicImage {
    if !picture.color().has_alpha() {
        return DynamicImage::ImageRgb8(picture.into_rgb8());
    }
    let mut pixels = picture.into_rgba8();
    for Rgba([red, green, blue, alpha]) in pixels.pixels_mut() {
        for channel in [red, green, blue] {
            let mixed = u16::from(*channel) * u16::from(*alpha) + 255 * (255 - u16::from(*alpha));
            *channel = u8::try_from(mixed / 255).unwrap_or(u8::MAX);
        }
    }
    DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).into_rgb8())
}
