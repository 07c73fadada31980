//! Pictures in the file format that was asked for, with their parameters in them where that is wished. Bytes that
//! already have the format stay as they are, whatever their quality: encoding them again would only lose.

use std::io::Cursor;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, Rgba};
use tokio::sync::Semaphore;

use super::embed;
use crate::generation::{GeneratedImage, Generation, GenerationRequest, ImageFormat, Model};
use crate::providers::{Error, ErrorKind};

/// Longest side that is decoded.
const MAX_SIDE: u32 = 8192;
/// Most memory that one decoder may take: a picture of the longest sides, at 4 bytes a pixel.
const MAX_BYTES: u64 = 4 * (MAX_SIDE as u64) * (MAX_SIDE as u64);
/// How good a lossy file is when nobody says, of 100.
const QUALITY: u8 = 92;

/// Pictures being converted at once, so that a burst takes neither all cores nor all memory.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Puts every picture into the form that `request` wishes: its file format, its quality, its parameters in it.
///
/// # Errors
/// [`ErrorKind::Protocol`] when a picture cannot be decoded: its container was whole, so its maker is to blame.
pub(super) async fn convert(
    mut generation: Generation,
    request: &GenerationRequest,
    model: &Model,
) -> Result<Generation, Error> {
    for image in &mut generation.images {
        let format = request.output_format.unwrap_or(image.format);
        let text = request.embed_parameters.then(|| embed::text(request, model, image));
        if image.format == format && text.is_none() {
            continue;
        }
        let (source, quality) = (image.clone(), request.output_quality);
        let _turn = TURNS.acquire().await;
        let task = tokio::task::spawn_blocking(move || {
            let bytes = if source.format == format { source.data.file() } else { recode(&source, format, quality)? };
            Ok::<_, image::ImageError>(match text {
                Some(text) => embed::embed(bytes, format, &text),
                None => bytes,
            })
        });
        let bytes = task.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the conversion of a picture broke off").with_source(error)
        })?;
        let bytes = bytes.map_err(|error| {
            Error::new(ErrorKind::Protocol, "the provider's picture cannot be decoded").with_source(error)
        })?;
        image.data = bytes.into();
        image.format = format;
    }
    Ok(generation)
}

fn recode(source: &GeneratedImage, format: ImageFormat, quality: Option<u8>) -> Result<Bytes, image::ImageError> {
    let known = match source.format {
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Webp => image::ImageFormat::WebP,
    };
    let mut decoder = ImageReader::with_format(Cursor::new(source.data.file()), known).into_decoder()?;
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
            JpegEncoder::new_with_quality(&mut bytes, quality.unwrap_or(QUALITY)).encode_image(&on_white(picture))?;
        }
        ImageFormat::Webp => return Ok(webp(&picture, quality)),
    }
    Ok(Bytes::from(bytes))
}

/// Lossy, with transparency where the picture has some; lossless at 100.
fn webp(picture: &DynamicImage, quality: Option<u8>) -> Bytes {
    let (width, height) = (picture.width(), picture.height());
    let encode = |encoder: webp::Encoder<'_>| match quality.unwrap_or(QUALITY) {
        100.. => encoder.encode_lossless(),
        quality => encoder.encode(quality.into()),
    };
    let file = if picture.color().has_alpha() {
        encode(webp::Encoder::from_rgba(&picture.to_rgba8(), width, height))
    } else {
        encode(webp::Encoder::from_rgb(&picture.to_rgb8(), width, height))
    };
    Bytes::copy_from_slice(&file)
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
