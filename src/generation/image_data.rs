//! The bytes of a picture, as they came.

use std::fmt;

use bytes::Bytes;

/// An encoded picture: its file, or the file's base64. Most pictures come as base64 and leave as base64, so that they
/// need never be anything else.
#[derive(Clone)]
pub struct ImageData(Form);

#[derive(Clone)]
enum Form {
    File(Bytes),
    Base64(Bytes),
}

impl ImageData {
    /// A picture from its base64: the standard alphabet, padded, without line breaks. Whether it is that is found out
    /// when it is read.
    pub fn from_base64(text: Bytes) -> Self {
        Self(Form::Base64(text))
    }

    /// The base64, if that is how it came.
    pub fn base64_text(&self) -> Option<&Bytes> {
        match &self.0 {
            Form::File(_) => None,
            Form::Base64(text) => Some(text),
        }
    }

    /// The file; decoded where it came as base64. What is no base64 is an empty file.
    pub fn file(&self) -> Bytes {
        match &self.0 {
            Form::File(bytes) => bytes.clone(),
            Form::Base64(text) => base64_simd::STANDARD.decode_to_vec(text).unwrap_or_default().into(),
        }
    }

    /// Bytes that it takes in memory.
    pub fn held(&self) -> usize {
        match &self.0 {
            Form::File(bytes) | Form::Base64(bytes) => bytes.len(),
        }
    }
}

impl From<Bytes> for ImageData {
    fn from(file: Bytes) -> Self {
        Self(Form::File(file))
    }
}

impl From<Vec<u8>> for ImageData {
    fn from(file: Vec<u8>) -> Self {
        Bytes::from(file).into()
    }
}

/// Pictures are the same when their files are.
impl PartialEq for ImageData {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::File(one), Form::File(two)) | (Form::Base64(one), Form::Base64(two)) => one == two,
            (Form::File(_), Form::Base64(_)) | (Form::Base64(_), Form::File(_)) => self.file() == other.file(),
        }
    }
}

impl Eq for ImageData {}

/// Pictures have no place in a log.
impl fmt::Debug for ImageData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match &self.0 {
            Form::File(_) => "file",
            Form::Base64(_) => "base64",
        };
        write!(f, "ImageData({form}, {} bytes)", self.held())
    }
}
