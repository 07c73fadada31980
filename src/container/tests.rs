//! Whole, cut and damaged picture files.

use proptest::prelude::*;

use super::sample::encoded;
use super::{Broken, Found, identify, identify_data, walk, walk_data};
use crate::generation::{ImageData, ImageFormat, ImageSize};

const FORMATS: [ImageFormat; 3] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp];

fn picture(format: ImageFormat) -> (Found, Vec<u8>) {
    let size = ImageSize::new(37, 21).unwrap();
    (Found { format, size }, encoded(size, format).to_vec())
}

#[test]
fn whole_pictures_are_known() {
    for format in FORMATS {
        let (found, bytes) = picture(format);
        assert_eq!(identify(&bytes), Ok(found));
        assert_eq!(walk(&bytes), Ok(found));
    }
}

#[test]
fn a_picture_that_is_cut_anywhere_is_not_whole() {
    for format in FORMATS {
        let (_, bytes) = picture(format);
        for length in 0..bytes.len() {
            assert!(walk(&bytes[..length]).is_err(), "{format:?} cut to {length} of {}", bytes.len());
        }
    }
}

/// The picture as base64 of its file.
fn as_base64(file: &[u8]) -> ImageData {
    ImageData::from_base64(base64_simd::STANDARD.encode_to_string(file).into())
}

#[test]
fn base64_is_walked_like_the_file_behind_it() {
    // Larger than a piece, so that chunks and markers fall on the seams.
    let size = ImageSize::new(400, 300).unwrap();
    for format in FORMATS {
        let file = noisy(size, format);
        assert!(file.len() > 100_000, "{format:?} {}", file.len());
        let found = Ok(Found { format, size });
        assert_eq!(walk_data(&as_base64(&file)), found);
        assert_eq!(identify_data(&as_base64(&file)), found);
        assert_eq!(walk_data(&ImageData::from(file.clone())), found);
        assert_eq!(as_base64(&file), ImageData::from(file.clone()));
        for cut in [3, 30, file.len() / 2, file.len() - 2] {
            assert!(walk_data(&as_base64(&file[..cut])).is_err(), "{format:?} cut to {cut}");
        }
        let text = base64_simd::STANDARD.encode_to_string(&file);
        for at in [10, 50_000, text.len() - 5] {
            for wrong in ["*", "="] {
                let mut text = text.clone();
                text.replace_range(at..=at, wrong);
                assert!(walk_data(&ImageData::from_base64(text.into())).is_err(), "{format:?} {wrong} at {at}");
            }
        }
    }
}

#[test]
fn what_follows_a_picture_must_be_base64_too() {
    let (found, mut file) = picture(ImageFormat::Png);
    file.extend_from_slice(&vec![0; 100_000]);
    assert_eq!(walk_data(&as_base64(&file)), Ok(found));
    let mut text = base64_simd::STANDARD.encode_to_string(&file);
    text.replace_range(90_000..=90_000, "!");
    assert_eq!(walk_data(&ImageData::from_base64(text.into())), Err(Broken::NotBase64));
}

/// A picture that does not compress.
fn noisy(size: ImageSize, format: ImageFormat) -> Vec<u8> {
    let mut state = 1_u32;
    let picture = image::RgbImage::from_fn(size.width.get(), size.height.get(), |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, a, b, c] = state.to_le_bytes();
        image::Rgb([a, b, c])
    });
    let format = match format {
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Webp => image::ImageFormat::WebP,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn a_changed_byte_of_a_png_is_noticed() {
    let (_, bytes) = picture(ImageFormat::Png);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(walk(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn what_follows_a_whole_picture_is_no_harm() {
    for format in FORMATS {
        let (found, mut bytes) = picture(format);
        bytes.extend_from_slice(b"\r\n");
        assert_eq!(walk(&bytes), Ok(found));
    }
}

#[test]
fn other_files_are_not_pictures() {
    for bytes in [&b""[..], b"GIF89a", b"<html></html>", b"RIFF\x04\0\0\0WAVE", b"\x89PNG", b"\xff\xd8"] {
        assert_eq!(walk(bytes), Err(Broken::UnknownFormat), "{bytes:?}");
    }
}

#[test]
fn a_png_without_pixels_is_not_a_picture() {
    let (_, bytes) = picture(ImageFormat::Png);
    let header = &bytes[..33];
    let end = &bytes[bytes.len() - 12..];
    assert_eq!(walk(&[header, end].concat()), Err(Broken::Malformed("there is no picture in it")));
}

#[test]
fn the_larger_canvas_of_an_extended_webp_is_its_size() {
    let (_, simple) = picture(ImageFormat::Webp);
    let mut extended = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x63\0\0\x31\0\0".to_vec();
    extended.extend_from_slice(&simple[12..]);
    let length = u32::try_from(extended.len() - 8).unwrap();
    extended[4..8].copy_from_slice(&length.to_le_bytes());
    let size = ImageSize::new(100, 50).unwrap();
    assert_eq!(walk(&extended), Ok(Found { format: ImageFormat::Webp, size }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_it_panic(format in 0..3_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let (_, mut bytes) = picture(FORMATS[format]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = identify(&bytes);
        let walked = walk(&bytes);
        prop_assert_eq!(walked, walk_data(&as_base64(&bytes)));
    }
}
