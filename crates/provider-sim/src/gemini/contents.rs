//! `contents`: what is said and shown.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value};

use super::error::VendorError;
use super::members::{PART, member, object};
use super::models::Model;
use crate::image_in::{self, Seen};

/// What was found in `contents`.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub text: String,
    pub images: usize,
    /// Of all pictures.
    pub digest: u64,
    /// The size of the first picture.
    pub first_size: Option<(u32, u32)>,
}

impl Contents {
    pub fn read(contents: Option<&Value>, model: &Model) -> Result<Self, VendorError> {
        let contents = contents.and_then(Value::as_array).filter(|contents| !contents.is_empty());
        let missing = || VendorError::invalid("* GenerateContentRequest.contents: contents is not specified");
        let (mut found, mut hasher) = (Self::default(), DefaultHasher::new());
        for content in contents.ok_or_else(missing)? {
            let content = object(content, "contents[0]", &["role", "parts"])?;
            if content.get("role").is_some_and(|role| role != "user" && role != "model") {
                return Err(VendorError::invalid("Please use a valid role: user, model."));
            }
            for part in content.get("parts").and_then(Value::as_array).into_iter().flatten() {
                found.add(object(part, "contents[0].parts[0]", PART)?, &mut hasher)?;
            }
        }
        if found.text.is_empty() && found.images == 0 {
            return Err(VendorError::invalid("Unable to submit request because it must have a text parameter."));
        }
        if found.images > model.most_images {
            return Err(VendorError::invalid(format!("At most {} images are supported.", model.most_images)));
        }
        found.digest = hasher.finish();
        Ok(found)
    }

    fn add(&mut self, part: &Map<String, Value>, hasher: &mut DefaultHasher) -> Result<(), VendorError> {
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            self.text += text;
        }
        if let Some(file) = member(part, "fileData", "file_data") {
            file.to_string().hash(hasher);
            self.images += 1;
        }
        if let Some(inline) = member(part, "inlineData", "inline_data") {
            inline.to_string().hash(hasher);
            let seen = read_inline(inline)?;
            self.images += 1;
            self.first_size.get_or_insert((seen.width, seen.height));
        }
        Ok(())
    }
}

/// Bare base64 only: the vendor reads neither data URIs nor addresses here.
fn read_inline(inline: &Value) -> Result<Seen, VendorError> {
    let inline = object(inline, "contents[0].parts[0].inline_data", &["mimeType", "data", "displayName"])?;
    let mime = member(inline, "mimeType", "mime_type").and_then(Value::as_str).unwrap_or_default();
    let data = inline.get("data").and_then(Value::as_str).unwrap_or_default();
    if !mime.starts_with("image/") {
        return Err(VendorError::invalid(format!("Unsupported MIME type: {mime}")));
    }
    match image_in::decode_either(data).and_then(|file| image_in::look(&file)) {
        None => Err(VendorError::invalid("Unable to process input image. Please retry or report.")),
        Some(seen) if seen.format.to_mime_type() != mime => {
            Err(VendorError::invalid(format!("The input image is not of the type {mime}.")))
        }
        Some(seen) => Ok(seen),
    }
}
