//! Pictures that a caller gives.

use bytes::Bytes;

use super::{ImageFormat, ImageSize};

/// A whole encoded picture that came with a request: checked to its end, pixels not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceImage {
    /// The file.
    pub bytes: Bytes,
    /// Its format, by its own magic bytes.
    pub format: ImageFormat,
    /// Its size, by its own header.
    pub size: ImageSize,
}
