//! Pictures as PNG files.

use ::png::{BitDepth, ColorType, Compression, Encoder, EncodingError};

use crate::{Error, Result};

/// The picture as a whole PNG file: 8 bits, RGB, no alpha. Fast compression, for the device waits while this runs.
pub fn encode(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: EncodingError| Error::internal(format!("png: {error}"));
    let mut file = Vec::with_capacity(rgb.len() / 2);
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(rgb).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}
