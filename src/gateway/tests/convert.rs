//! Pictures in other file formats.

use super::size;
use crate::gateway::convert::convert;
use crate::generation::{Defaults, GeneratedImage, Generation, GenerationRequest, ImageFormat, Model, Seed};
use crate::providers::ErrorKind;
use crate::providers::scripted::{encoded, model, request};

fn generation(format: ImageFormat) -> Generation {
    let size = size(37, 21);
    let image = GeneratedImage { data: encoded(size, format).into(), format, size, seed: None };
    Generation { images: vec![image], ..Generation::default() }
}

fn to_format(format: ImageFormat) -> GenerationRequest {
    GenerationRequest { output_format: Some(format), ..request() }
}

#[tokio::test]
async fn every_format_becomes_every_other() {
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp];
    for (from, to) in formats.into_iter().flat_map(|from| formats.map(|to| (from, to))) {
        let before = generation(from);
        let after = convert(before.clone(), &to_format(to), &model("m")).await.unwrap();
        let reader =
            image::ImageReader::new(std::io::Cursor::new(after.images[0].data.file())).with_guessed_format().unwrap();
        assert_eq!(reader.format().unwrap().to_mime_type(), to.mime_type());
        assert_eq!(reader.into_dimensions().unwrap(), (37, 21), "{from:?} to {to:?}");
        assert_eq!(after.images[0].format, to);
        assert_eq!(from == to, before.images[0].data == after.images[0].data, "bytes that fit stay as they are");
    }
}

#[tokio::test]
async fn without_a_format_the_bytes_stay() {
    let before = generation(ImageFormat::Jpeg);
    assert_eq!(convert(before.clone(), &request(), &model("m")).await.unwrap(), before);
}

#[tokio::test]
async fn transparency_becomes_white_in_a_jpeg() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let clear = image::RgbaImage::from_pixel(16, 16, image::Rgba([0, 0, 0, 0]));
    clear.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let mut before = generation(ImageFormat::Png);
    before.images[0].data = bytes.into_inner().into();
    let after = convert(before, &to_format(ImageFormat::Jpeg), &model("m")).await.unwrap();
    let pixels = image::load_from_memory(&after.images[0].data.file()).unwrap().into_rgb8();
    assert!(pixels.pixels().all(|pixel| pixel.0.iter().all(|channel| *channel > 250)));
}

#[tokio::test]
async fn a_picture_that_cannot_be_decoded_is_its_makers_fault() {
    let mut before = generation(ImageFormat::Png);
    // Whole as a container, but its pixels are not what zlib packed.
    let mut bytes = before.images[0].data.file().to_vec();
    let at = bytes.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = usize::try_from(u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap())).unwrap();
    bytes[at + 4..at + 4 + length].fill(0xAA);
    let checksum = crc32fast::hash(&bytes[at..at + 4 + length]);
    bytes[at + 4 + length..at + 8 + length].copy_from_slice(&checksum.to_be_bytes());
    before.images[0].data = bytes.into();
    let error = convert(before, &to_format(ImageFormat::Webp), &model("m")).await.unwrap_err();
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
    before.images[0].data = bytes.into();
    assert_eq!(
        convert(before, &to_format(ImageFormat::Jpeg), &model("m")).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn the_quality_is_the_wished_one() {
    for format in [ImageFormat::Jpeg, ImageFormat::Webp] {
        let mut sizes = Vec::new();
        for quality in [5, 50, 95] {
            let wished = GenerationRequest { output_quality: Some(quality), ..to_format(format) };
            let mut before = generation(ImageFormat::Png);
            before.images[0].data = encoded(size(256, 256), ImageFormat::Png).into();
            sizes.push(convert(before, &wished, &model("m")).await.unwrap().images[0].data.file().len());
        }
        assert!(sizes.is_sorted() && sizes[0] < sizes[2], "{format:?} {sizes:?}");
    }
    // At 100 a WebP loses nothing.
    let before = generation(ImageFormat::Png);
    let wished = GenerationRequest { output_quality: Some(100), ..to_format(ImageFormat::Webp) };
    let after = convert(before.clone(), &wished, &model("m")).await.unwrap();
    let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8();
    assert_eq!(pixels(&before.images[0].data.file()), pixels(&after.images[0].data.file()));
}

#[tokio::test]
async fn the_parameters_are_in_the_file_and_the_pixels_stay() {
    use img_parts::ImageEXIF as _;

    let defaults = Defaults { steps: Some(20), negative_prompt: Some("blurry".to_owned()), ..Defaults::default() };
    let model = Model { defaults, ..model("org/m:1") };
    for prompt in ["a teapot", "eine Kanne für 茶"] {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp] {
            let mut before = generation(format);
            before.images[0].seed = Some(Seed::from(7));
            let wished = GenerationRequest { embed_parameters: true, ..GenerationRequest::new(prompt) };
            let after = convert(before.clone(), &wished, &model).await.unwrap();
            let (before, after) = (before.images[0].data.file().clone(), after.images[0].data.file().clone());
            let version = env!("CARGO_PKG_VERSION");
            let expected = format!(
                "{prompt}\nNegative prompt: blurry\nSteps: 20, Seed: 7, Size: 37x21, Model: \"org/m:1\", Version: easel {version}"
            );
            let exif = match format {
                ImageFormat::Png => {
                    let chunk = img_parts::png::Png::from_bytes(after.clone()).unwrap().chunks()[1].clone();
                    let text = chunk.contents().split(|byte| *byte == 0).next_back().unwrap();
                    let latin = || text.iter().map(|byte| char::from(*byte)).collect::<String>();
                    let text =
                        if chunk.kind() == *b"tEXt" { latin() } else { String::from_utf8(text.to_vec()).unwrap() };
                    assert_eq!(text, expected);
                    None
                }
                ImageFormat::Jpeg => img_parts::jpeg::Jpeg::from_bytes(after.clone()).unwrap().exif(),
                ImageFormat::Webp => img_parts::webp::WebP::from_bytes(after.clone()).unwrap().exif(),
            };
            if let Some(exif) = exif {
                let at = exif.windows(8).position(|part| part == b"UNICODE\0").unwrap() + 8;
                let units = exif[at..].chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                assert_eq!(String::from_utf16(&units.collect::<Vec<_>>()).unwrap(), expected);
            }
            assert_eq!(image::load_from_memory(&before).unwrap(), image::load_from_memory(&after).unwrap());
        }
    }
}
