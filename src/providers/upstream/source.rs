//! Given pictures on their way to an upstream: as another file format, as a mask of another polarity, as text.
//!
//! Pixels are decoded within limits and away from the threads that serve everybody else.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, Limits, Luma, Rgba, RgbaImage, imageops};
use tokio::sync::Semaphore;

use crate::generation::{ImageFormat, ImageSize, SourceImage};
use crate::providers::{Error, ErrorKind};

/// Longest side that is decoded.
const MAX_SIDE: u32 = 8192;
/// Most memory that one decoder may take: a picture of the longest sides, at 4 bytes a pixel.
const MAX_BYTES: u64 = 4 * (MAX_SIDE as u64) * (MAX_SIDE as u64);

/// A mask's pixel is repainted from this brightness on, as in diffusers: upstreams know no half measures.
const REPAINTED: u8 = 128;

/// Pictures being decoded at once, so that a burst takes neither all cores nor all memory.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Which part of a mask an upstream repaints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarity {
    /// What is white, as in ours.
    White,
    /// What is transparent.
    Transparent,
}

/// The picture as a PNG.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] when it cannot be decoded.
pub async fn as_png(source: &SourceImage) -> Result<SourceImage, Error> {
    if source.format == ImageFormat::Png {
        return Ok(source.clone());
    }
    let source = source.clone();
    in_turn("image", move || {
        let picture = decode(&source)?;
        encode(&picture)
    })
    .await
}

/// Our mask, of which white is repainted, as a PNG of this size and polarity: an opaque one is black and white, a
/// transparent one is black with holes.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] when it cannot be decoded.
pub async fn mask(mask: &SourceImage, size: ImageSize, polarity: Polarity) -> Result<SourceImage, Error> {
    let mask = mask.clone();
    in_turn("mask", move || {
        let mut wanted = on_black(&decode(&mask)?);
        let (width, height) = (size.width.get(), size.height.get());
        if wanted.dimensions() != (width, height) {
            wanted = imageops::resize(&wanted, width, height, imageops::FilterType::Nearest);
        }
        let is_repainted = |x: u32, y: u32| wanted.get_pixel_checked(x, y).is_some_and(|Luma([v])| *v >= REPAINTED);
        let picture = match polarity {
            Polarity::White => {
                let pixel = |x, y| Luma([if is_repainted(x, y) { 255 } else { 0 }]);
                DynamicImage::ImageLuma8(GrayImage::from_fn(width, height, pixel))
            }
            Polarity::Transparent => {
                let pixel = |x, y| Rgba([0, 0, 0, if is_repainted(x, y) { 0 } else { 255 }]);
                DynamicImage::ImageRgba8(RgbaImage::from_fn(width, height, pixel))
            }
        };
        encode(&picture)
    })
    .await
}

/// The file in base64.
pub fn to_base64(source: &SourceImage) -> String {
    base64_simd::STANDARD.encode_to_string(&source.bytes)
}

/// The file as `data:image/png;base64,…`.
pub fn to_data_uri(source: &SourceImage) -> String {
    let mut text = format!("data:{};base64,", source.format.mime_type());
    base64_simd::STANDARD.encode_append(&source.bytes, &mut text);
    text
}

/// Does `work` when it is its turn; `field` is the request's field that it is about.
async fn in_turn(
    field: &'static str,
    work: impl FnOnce() -> image::ImageResult<SourceImage> + Send + 'static,
) -> Result<SourceImage, Error> {
    let _turn = TURNS.acquire().await;
    let made = tokio::task::spawn_blocking(work).await.map_err(|broken| {
        Error::new(ErrorKind::Internal, format!("reading `{field}` broke off")).with_source(broken)
    })?;
    made.map_err(|error| {
        Error::new(ErrorKind::InvalidRequest, format!("`{field}` cannot be decoded"))
            .with_hint(format!("send `{field}` as a PNG of at most {MAX_SIDE} pixels a side"))
            .with_source(error)
    })
}

fn decode(source: &SourceImage) -> image::ImageResult<DynamicImage> {
    let format = match source.format {
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Webp => image::ImageFormat::WebP,
    };
    let mut decoder = ImageReader::with_format(Cursor::new(&source.bytes), format).into_decoder()?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits.check_dimensions(decoder.dimensions().0, decoder.dimensions().1)?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

fn encode(picture: &DynamicImage) -> image::ImageResult<SourceImage> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)?;
    let size = ImageSize::new(picture.width(), picture.height()).ok_or_else(|| {
        let kind = image::error::ParameterErrorKind::DimensionMismatch;
        image::ImageError::Parameter(image::error::ParameterError::from_kind(kind))
    })?;
    Ok(SourceImage { bytes: Bytes::from(bytes), format: ImageFormat::Png, size })
}

/// How bright each pixel is; what shines through is black.
fn on_black(picture: &DynamicImage) -> GrayImage {
    if !picture.color().has_alpha() {
        return picture.to_luma8();
    }
    let pixels = picture.to_luma_alpha8();
    GrayImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let image::LumaA([bright, alpha]) = pixels.get_pixel_checked(x, y).copied().unwrap_or(image::LumaA([0, 0]));
        let mixed = u16::from(bright) * u16::from(alpha) / 255;
        Luma([u8::try_from(mixed).unwrap_or(u8::MAX)])
    })
}

#[cfg(test)]
mod tests {
    use image::GenericImageView as _;

    use super::*;

    fn source(picture: &DynamicImage, format: ImageFormat) -> SourceImage {
        let mut bytes = Cursor::new(Vec::new());
        let kind = match format {
            ImageFormat::Png => image::ImageFormat::Png,
            ImageFormat::Jpeg => image::ImageFormat::Jpeg,
            ImageFormat::Webp => image::ImageFormat::WebP,
        };
        picture.write_to(&mut bytes, kind).unwrap();
        let size = ImageSize::new(picture.width(), picture.height()).unwrap();
        SourceImage { bytes: bytes.into_inner().into(), format, size }
    }

    /// White where `x + y` is even.
    fn is_white(x: u32, y: u32) -> bool {
        (x + y).is_multiple_of(2)
    }

    #[tokio::test]
    async fn what_is_white_becomes_transparent_and_nothing_else_does() {
        let size = ImageSize::new(7, 5).unwrap();
        let bright = |x, y| if is_white(x, y) { 255 } else { 0 };
        let masks = [
            DynamicImage::ImageLuma8(GrayImage::from_fn(7, 5, |x, y| Luma([bright(x, y)]))),
            DynamicImage::ImageRgba8(RgbaImage::from_fn(7, 5, |x, y| {
                let bright = bright(x, y);
                Rgba([bright, bright, bright, 255])
            })),
            DynamicImage::ImageRgb8(image::RgbImage::from_fn(7, 5, |x, y| {
                let bright = if is_white(x, y) { 128 } else { 127 };
                image::Rgb([bright, bright, bright])
            })),
            // What is transparent is not white, whatever lies under it.
            DynamicImage::ImageRgba8(RgbaImage::from_fn(7, 5, |x, y| Rgba([255, 255, 255, bright(x, y)]))),
        ];
        for given in masks {
            for format in [ImageFormat::Png, ImageFormat::Webp] {
                let holes = mask(&source(&given, format), size, Polarity::Transparent).await.unwrap();
                let white = mask(&source(&given, format), size, Polarity::White).await.unwrap();
                assert_eq!((holes.format, holes.size, white.size), (ImageFormat::Png, size, size));
                let holes = image::load_from_memory(&holes.bytes).unwrap();
                let white = image::load_from_memory(&white.bytes).unwrap();
                assert!(holes.color() == image::ColorType::Rgba8 && white.color() == image::ColorType::L8);
                for (x, y, Rgba([_, _, _, alpha])) in holes.pixels() {
                    assert_eq!(alpha, if is_white(x, y) { 0 } else { 255 }, "{x} {y}");
                    assert_eq!(white.get_pixel(x, y).0[0], bright(x, y), "{x} {y}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_mask_is_made_as_large_as_its_picture() {
        let given = DynamicImage::ImageLuma8(GrayImage::from_fn(2, 1, |x, _| Luma([if x == 0 { 255 } else { 0 }])));
        let size = ImageSize::new(8, 4).unwrap();
        let made = mask(&source(&given, ImageFormat::Png), size, Polarity::Transparent).await.unwrap();
        let made = image::load_from_memory(&made.bytes).unwrap();
        assert_eq!(made.dimensions(), (8, 4));
        for (x, y, Rgba([_, _, _, alpha])) in made.pixels() {
            assert_eq!(alpha, if x < 4 { 0 } else { 255 }, "{x} {y}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_decoded_is_the_callers_mistake() {
        let size = ImageSize::new(8, 8).unwrap();
        let broken = SourceImage { bytes: Bytes::from_static(b"\x89PNG\r\n\x1a\nno"), format: ImageFormat::Png, size };
        let error = mask(&broken, size, Polarity::White).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidRequest, "`mask` cannot be decoded"));
        let broken = SourceImage { format: ImageFormat::Webp, ..broken };
        assert_eq!(as_png(&broken).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    }

    #[tokio::test]
    async fn other_formats_become_png_and_png_stays_as_it_is() {
        let given = DynamicImage::ImageRgba8(RgbaImage::from_fn(5, 3, |x, y| {
            Rgba([u8::try_from(x).unwrap(), u8::try_from(y).unwrap(), 9, 200])
        }));
        let png = source(&given, ImageFormat::Png);
        assert_eq!(as_png(&png).await.unwrap(), png);
        let made = as_png(&source(&given, ImageFormat::Webp)).await.unwrap();
        assert_eq!(image::load_from_memory(&made.bytes).unwrap(), given);
    }

    #[test]
    fn pictures_are_written_as_text() {
        let size = ImageSize::new(1, 1).unwrap();
        let source = SourceImage { bytes: Bytes::from_static(b"any\0"), format: ImageFormat::Jpeg, size };
        assert_eq!(to_base64(&source), "YW55AA==");
        assert_eq!(to_data_uri(&source), "data:image/jpeg;base64,YW55AA==");
    }
}
