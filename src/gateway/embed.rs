//! The parameters of a picture inside its file, in the words and places that the web UIs for Stable Diffusion made
//! usual: PNG text `parameters`, or the Exif user comment of a JPEG or WebP. Pixels are not touched.

use std::fmt::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use img_parts::ImageEXIF as _;
use img_parts::jpeg::Jpeg;
use img_parts::png::{Png, PngChunk};
use img_parts::webp::WebP;

use crate::generation::{GeneratedImage, GenerationRequest, ImageFormat, Model};

/// The parameters that `image` was made with, as far as they are known: the prompt, what it must not show, and a line
/// of `Key: value` pairs.
pub(super) fn text(request: &GenerationRequest, model: &Model, image: &GeneratedImage) -> String {
    let mut text = request.prompt.clone();
    let negative = request.negative_prompt.as_ref().or(model.defaults.negative_prompt.as_ref());
    if let Some(negative) = negative.filter(|negative| !negative.is_empty()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\nNegative prompt: {negative}");
    }
    let steps = request.steps.map(std::num::NonZeroU32::get).or(model.defaults.steps);
    let guidance = request.guidance_scale.or(model.defaults.guidance_scale);
    let scheduler = request.scheduler.as_ref().or(model.defaults.scheduler.as_ref());
    let strength = request.strength.filter(|_| request.image.is_some());
    let pairs = [
        ("Steps", steps.map(|steps| steps.to_string())),
        ("Sampler", scheduler.map(|name| quoted(name))),
        ("CFG scale", guidance.map(|scale| scale.to_string())),
        ("Seed", image.seed.map(|seed| seed.get().to_string())),
        ("Size", Some(image.size.to_string())),
        ("Denoising strength", strength.map(|strength| strength.to_string())),
        ("Model", Some(quoted(model.key.as_str()))),
        ("Version", Some(concat!("easel ", env!("CARGO_PKG_VERSION")).to_owned())),
    ];
    let pairs: Vec<String> = pairs.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", value?))).collect();
    let _ = write!(text, "\n{}", pairs.join(", "));
    text
}

/// A value with what separates pairs in it stands in quotes.
fn quoted(value: &str) -> String {
    if value.contains([',', ':', '\n']) { serde_json::Value::from(value).to_string() } else { value.to_owned() }
}

/// `file` with `text` in it; a file that cannot be taken apart stays as it is.
pub(super) fn embed(file: Bytes, format: ImageFormat, text: &str) -> Bytes {
    let written = match format {
        ImageFormat::Png => Png::from_bytes(file.clone()).map(|mut png| {
            // Right behind the header, before any pixels.
            png.chunks_mut().insert(1, png_text(text));
            png.encoder().bytes()
        }),
        ImageFormat::Jpeg => Jpeg::from_bytes(file.clone()).map(|mut jpeg| {
            jpeg.set_exif(Some(exif(text)));
            jpeg.encoder().bytes()
        }),
        ImageFormat::Webp => WebP::from_bytes(file.clone()).map(|mut webp| {
            webp.set_exif(Some(exif(text)));
            webp.encoder().bytes()
        }),
    };
    written.unwrap_or(file)
}

/// `tEXt` where Latin-1 will do, else `iTXt`.
fn png_text(text: &str) -> PngChunk {
    const KEYWORD: &[u8] = b"parameters\0";
    let latin: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
    match latin {
        Some(latin) => PngChunk::new(*b"tEXt", [KEYWORD, &latin].concat().into()),
        // Not compressed, no language, no translated keyword.
        None => PngChunk::new(*b"iTXt", [KEYWORD, b"\0\0\0\0", text.as_bytes()].concat().into()),
    }
}

/// Exif (CIPA DC-008) with nothing but a user comment: a TIFF header, one directory that points to another, and in that
/// the comment, in big-endian UTF-16 behind its code.
fn exif(text: &str) -> Bytes {
    const EXIF_POINTER: u16 = 0x8769;
    const USER_COMMENT: u16 = 0x9286;
    const LONG: u16 = 4;
    const UNDEFINED: u16 = 7;
    let mut comment = b"UNICODE\0".to_vec();
    comment.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    let length = u32::try_from(comment.len()).unwrap_or(u32::MAX);
    let mut file = BytesMut::new();
    file.put_slice(b"MM\0*");
    let directory = |file: &mut BytesMut, tag: u16, kind: u16, count: u32, value: u32| {
        file.put_u16(1);
        file.put_u16(tag);
        file.put_u16(kind);
        file.put_u32(count);
        file.put_u32(value);
        file.put_u32(0);
    };
    // A directory of one entry takes 18 bytes; the first one begins behind the 8 bytes of the header.
    file.put_u32(8);
    directory(&mut file, EXIF_POINTER, LONG, 1, 8 + 18);
    directory(&mut file, USER_COMMENT, UNDEFINED, length, 8 + 2 * 18);
    file.put_slice(&comment);
    file.freeze()
}
