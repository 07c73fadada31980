//! Pictures that a client sends: what they are, as far as a vendor looks at them.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use image::{ImageDecoder as _, ImageFormat, ImageReader};

/// What a vendor sees of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub format: ImageFormat,
    pub width: u32,
    pub height: u32,
    pub has_alpha: bool,
}

/// Looks at a file; `None` if it is no PNG, JPEG or WebP.
pub(crate) fn look(file: &[u8]) -> Option<Seen> {
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format().ok()?;
    let format = reader.format()?;
    let decoder = reader.into_decoder().ok()?;
    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    Some(Seen { format, width, height, has_alpha: color.has_alpha() })
}

/// How a client names a picture inside JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// An address, which is not fetched.
    Address,
    /// A file.
    File(Seen),
}

/// A file in base64 of either alphabet, with or without its padding, as the JSON of protocol buffers allows.
pub(crate) fn decode_either(text: &str) -> Option<Vec<u8>> {
    let text = text.replace('-', "+").replace('_', "/");
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Reads an address, a `data:` URI or bare base64; `None` if it is none of them, or holds no picture.
pub(crate) fn read(text: &str) -> Option<Named> {
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some(Named::Address);
    }
    let base64 = match text.strip_prefix("data:") {
        Some(uri) => uri.split_once(";base64,")?.1,
        None => text,
    };
    look(&BASE64.decode(base64).ok()?).map(Named::File)
}
