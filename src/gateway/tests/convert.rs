//! Pictures in other file formats.

use super::size;
use crate::gateway::convert::convert;
use crate::generation::{GeneratedImage, Generation, ImageFormat};
use crate::providers::ErrorKind;
use crate::providers::scripted::encoded;

fn generation(format: ImageFormat) -> Generation {
    let size = size(37, 21);
    let image = GeneratedImage { bytes: encoded(size, format), format, size, seed: None };
    Generation { images: vec![image], ..Generation::default() }
}

#[tokio::test]
async fn every_format_becomes_every_other() {
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp];
    for (from, to) in formats.into_iter().flat_map(|from| formats.map(|to| (from, to))) {
        let before = generation(from);
        let after = convert(before.clone(), Some(to)).await.unwrap();
        let reader =
            image::ImageReader::new(std::io::Cursor::new(&after.images[0].bytes)).with_guessed_format().unwrap();
        assert_eq!(reader.format().unwrap().to_mime_type(), to.mime_type());
        assert_eq!(reader.into_dimensions().unwrap(), (37, 21), "{from:?} to {to:?}");
        assert_eq!(after.images[0].format, to);
        assert_eq!(from == to, before.images[0].bytes == after.images[0].bytes, "bytes that fit stay as they are");
    }
}

#[tokio::test]
async fn without_a_format_the_bytes_stay() {
    let before = generation(ImageFormat::Jpeg);
    assert_eq!(convert(before.clone(), None).await.unwrap(), before);
}

#[tokio::test]
async fn transparency_becomes_white_in_a_jpeg() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let clear = image::RgbaImage::from_pixel(16, 16, image::Rgba([0, 0, 0, 0]));
    clear.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let mut before = generation(ImageFormat::Png);
    before.images[0].bytes = bytes.into_inner().into();
    let after = convert(before, Some(ImageFormat::Jpeg)).await.unwrap();
    let pixels = image::load_from_memory(&after.images[0].bytes).unwrap().into_rgb8();
    assert!(pixels.pixels().all(|pixel| pixel.0.iter().all(|channel| *channel > 250)));
}

#[tokio::test]
async fn a_picture_that_cannot_be_decoded_is_its_makers_fault() {
    let mut before = generation(ImageFormat::Png);
    // Whole as a container, but its pixels are not what zlib packed.
    let mut bytes = before.images[0].bytes.to_vec();
    let at = bytes.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = usize::try_from(u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap())).unwrap();
    bytes[at + 4..at + 4 + length].fill(0xAA);
    let checksum = crc32fast::hash(&bytes[at..at + 4 + length]);
    bytes[at + 4 + length..at + 8 + length].copy_from_slice(&checksum.to_be_bytes());
    before.images[0].bytes = bytes.into();
    let error = convert(before, Some(ImageFormat::Webp)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_goes_off() {
    // A header that promises 30000 x 30000 pixels, with sound checksums.
    let mut bytes = encoded(size(8, 8), ImageFormat::Png).to_vec();
    bytes[16..20].copy_from_slice(&30_000_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&30_000_u32.to_be_bytes());
    let checksum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut before = generation(ImageFormat::Png);
    before.images[0].bytes = bytes.into();
    assert_eq!(convert(before, Some(ImageFormat::Jpeg)).await.unwrap_err().kind(), ErrorKind::Protocol);
}
