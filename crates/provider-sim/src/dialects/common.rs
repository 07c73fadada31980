//! What the imitations share: reading a few fields, and making a picture of them.

use serde_json::{Map, Value, json};

use crate::http::{Reply, parts};
use crate::picture::Format;
use crate::pictures::Wish;
use crate::state::State;
use crate::{Behaviour, Request, image_in};

/// The fields of a JSON object or of a form; files are named by a digest.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub fields: Map<String, Value>,
    pub files: Vec<(String, Vec<u8>)>,
}

impl Body {
    pub fn read(request: &Request) -> Option<Self> {
        if let Some(parts) = parts(request) {
            let mut body = Self::default();
            for part in parts {
                if part.is_file {
                    body.files.push((part.name, part.content));
                } else {
                    let text = part.text();
                    let value = serde_json::from_str(&text).ok().filter(Value::is_number);
                    body.fields.insert(part.name, value.unwrap_or(Value::String(text)));
                }
            }
            return Some(body);
        }
        match serde_json::from_slice(&request.body) {
            Ok(Value::Object(fields)) => Some(Self { fields, files: Vec::new() }),
            Ok(_) | Err(_) => None,
        }
    }

    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> Option<u32> {
        self.fields.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
    }

    /// Width and height of a field like `512x768`.
    pub fn size(&self, name: &str) -> Option<(u32, u32)> {
        let (width, height) = self.text(name).split_once('x')?;
        let side = |text: &str| text.parse().ok().filter(|side| (1..=4096).contains(side));
        Some((side(width)?, side(height)?))
    }

    /// The files of a field, under any of these names.
    pub fn files_of(&self, names: &[&str]) -> Vec<&[u8]> {
        self.files.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, file)| file.as_slice()).collect()
    }

    /// Whether all files are pictures, and masks are as large as the first picture.
    pub fn files_fit(&self) -> bool {
        let seen: Option<Vec<_>> = self.files.iter().map(|(_, file)| image_in::look(file)).collect();
        let Some(seen) = seen else { return false };
        let size = |name: &str| {
            let at = self.files.iter().position(|(other, _)| other == name)?;
            seen.get(at).map(|seen| (seen.width, seen.height))
        };
        match (size("mask"), size("image").or_else(|| size("image[]"))) {
            (Some(mask), Some(image)) => mask == image,
            _ => true,
        }
    }

    /// A wish for PNGs, of this size where none is named.
    pub fn wish(&self, size: (u32, u32), request: &Request, behaviour: &Behaviour, state: &State) -> Wish {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        self.files.hash(&mut hasher);
        let further = Value::Object(self.fields.clone()).to_string();
        further.hash(&mut hasher);
        Wish {
            subject: format!("{} {}", self.text("prompt"), hasher.finish()),
            count: self.number("n").unwrap_or(1),
            size: self.size("size").or(behaviour.size).unwrap_or(size),
            format: Format::Png,
            alpha: false,
            addresses: false,
            origin: state.origin(request),
        }
    }
}

/// What servers say with this status.
pub(super) fn message(status: u16) -> String {
    match status {
        400 => "prompt required",
        401 => "An authentication key is required",
        403 => "Forbidden",
        404 => "The model is not known",
        429 => "Too many requests",
        503 => "Diffusion engine not initialized.",
        _ => "generate_image failed",
    }
    .to_owned()
}

/// A list of one model.
pub(super) fn models(id: &str) -> Reply {
    let model = json!({ "id": id, "object": "model", "created": 0, "owned_by": "local" });
    Reply::json(200, &json!({ "object": "list", "data": [model] }))
}
