//! Reading a picture file that a caller sent. Nothing about it is believed: size and kind are looked at before anything is
//! decoded, and decoding has a limit of memory.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_engine_protocol::InputImage;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::Pixels;
use crate::{Error, Result};

/// The longest base64 of a file: 48 MiB of bytes.
pub const MAX_BASE64: usize = 64 << 20;
/// The longest side in pixels.
const MAX_SIDE: u32 = 8192;
/// The most pixels: those of 8192x4096.
const MAX_PIXELS: u64 = 32 << 20;
/// What a decoder may take, in bytes: the largest picture with 16 bits of four channels, and as much again.
const MAX_MEMORY: u64 = 2 * 8 * MAX_PIXELS;

/// What lies behind a picture where it is transparent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backdrop {
    /// White, for pictures: as if printed.
    White,
    /// Black, for masks: what nobody painted stays.
    Black,
}

/// The PNG, JPEG or WebP file in `input`, turned as its camera says, without its transparency. `field` is what the caller
/// calls it.
pub fn read(field: &str, input: &InputImage, backdrop: Backdrop) -> Result<Pixels> {
    let refuse = |message: String| Error::invalid(format!("{field}: {message}"));
    if input.0.len() > MAX_BASE64 {
        return Err(refuse(format!("{} bytes of base64, at most {MAX_BASE64} are possible", input.0.len())));
    }
    let file = STANDARD.decode(&input.0).map_err(|error| refuse(format!("not base64: {error}")))?;
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format().map_err(|e| refuse(e.to_string()))?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP) => {}
        _ => return Err(refuse("neither PNG nor JPEG nor WebP".to_owned())),
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let failed = |error: ImageError| {
        if matches!(error, ImageError::Limits(_)) {
            return refuse(format!("too large, at most {MAX_SIDE} pixels a side are possible"));
        }
        refuse(format!("the file cannot be read: {error}"))
    };
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(refuse(format!("{width}x{height} is too large, at most {MAX_PIXELS} pixels are possible")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width(), picture.height());
    Ok(Pixels { width, height, rgb: flatten(picture, backdrop) })
}

/// Rows of red, green and blue, whatever it was.
fn flatten(picture: DynamicImage, backdrop: Backdrop) -> Vec<u8> {
    if !picture.color().has_alpha() {
        return picture.into_rgb8().into_raw();
    }
    let behind = match backdrop {
        Backdrop::White => 255,
        Backdrop::Black => 0,
    };
    let rgba = picture.into_rgba8().into_raw();
    let pixels = rgba.as_chunks::<4>().0.iter();
    pixels.flat_map(|&[r, g, b, alpha]| [r, g, b].map(|colour| mixed(colour, behind, alpha))).collect()
}

fn mixed(front: u8, behind: u8, alpha: u8) -> u8 {
    let sum = u32::from(front) * u32::from(alpha) + u32::from(behind) * (255 - u32::from(alpha));
    u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use easel_engine_protocol::InputImage;
    use image::{ExtendedColorType, ImageEncoder as _, ImageFormat, RgbaImage};

    use super::{Backdrop, read};

    fn file(picture: &RgbaImage, format: ImageFormat) -> InputImage {
        let mut file = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        InputImage(STANDARD.encode(file.into_inner()))
    }

    #[test]
    fn what_is_transparent_is_white_in_pictures_and_black_in_masks() {
        let picture = RgbaImage::from_raw(3, 1, vec![9, 9, 9, 0, 9, 9, 9, 255, 100, 0, 200, 128]).unwrap();
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let input = file(&picture, format);
            let of = |backdrop| read("image", &input, backdrop).unwrap().rgb;
            assert_eq!(of(Backdrop::White), [255, 255, 255, 9, 9, 9, 177, 127, 227]);
            assert_eq!(of(Backdrop::Black), [0, 0, 0, 9, 9, 9, 50, 0, 100]);
        }
    }

    #[test]
    fn a_jpeg_is_turned_as_its_camera_says() {
        let mut jpeg = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100);
        let rgb: Vec<u8> = (0..32 * 8).flat_map(|i| if i % 32 < 16 { [250; 3] } else { [5; 3] }).collect();
        encoder.write_image(&rgb, 32, 8, ExtendedColorType::Rgb8).unwrap();
        // An EXIF block right after the start that says: turned by a quarter.
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        jpeg.splice(2..2, exif.iter().copied());
        let read = read("image", &InputImage(STANDARD.encode(jpeg)), Backdrop::White).unwrap();
        assert_eq!((read.width, read.height), (8, 32));
        assert!(read.rgb[0] > 200 && read.rgb[read.rgb.len() - 1] < 50, "the bright half is on top");
    }

    #[test]
    fn what_is_no_picture_is_refused_by_its_field() {
        let refused =
            |input: &str| read("mask", &InputImage(input.to_owned()), Backdrop::Black).unwrap_err().to_string();
        assert!(refused("*").starts_with("mask: not base64"));
        assert_eq!(refused(&STANDARD.encode("GIF89a......")), "mask: neither PNG nor JPEG nor WebP");
        let whole = file(&RgbaImage::new(64, 64), ImageFormat::Png).0;
        let cut = STANDARD.encode(&STANDARD.decode(whole).unwrap()[..60]);
        assert!(refused(&cut).starts_with("mask: the file cannot be read"), "{}", refused(&cut));
    }

    /// A file of a few bytes that says it is a picture of four gigapixels, or of one that fits a side but not the memory.
    #[test]
    fn what_a_file_says_of_its_size_is_refused_before_it_is_decoded() {
        for (width, height) in [(65_535_u32, 65_535_u32), (8192, 8192), (100_000, 1)] {
            let mut png = Vec::new();
            let mut encoder = png::Encoder::new(&mut png, 1, 1);
            encoder.set_color(png::ColorType::Rgba);
            encoder.write_header().unwrap().write_image_data(&[0; 4]).unwrap();
            png[16..20].copy_from_slice(&width.to_be_bytes());
            png[20..24].copy_from_slice(&height.to_be_bytes());
            let crc = crc(&png[12..29]);
            png[29..33].copy_from_slice(&crc.to_be_bytes());
            let error = read("image", &InputImage(STANDARD.encode(&png)), Backdrop::White).unwrap_err();
            assert!(error.to_string().contains("too large"), "{width}x{height}: {error}");
        }
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }
}
