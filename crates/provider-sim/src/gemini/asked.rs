//! A request that passed the vendor's checks, and these checks.

use serde_json::{Map, Value};

use super::contents::Contents;
use super::error::VendorError;
use super::members::{CONFIG, IMAGE, TOP, member, object};
use super::models::Model;
use super::sizes;
use crate::pictures::Wish;
use crate::{Behaviour, Request};

/// What a picture in a request costs.
const IMAGE_TOKENS: usize = 258;
/// Largest body.
const LARGEST: usize = 20 << 20;

/// A request that passed the vendor's checks.
#[derive(Debug)]
pub(super) struct Asked {
    pub model: &'static Model,
    pub wish: Wish,
    pub wants_text: bool,
    pub wants_image: bool,
    pub wants_thoughts: bool,
    pub text_tokens: usize,
    pub image_tokens: usize,
    /// Tokens of one picture that is made.
    pub output_tokens: u32,
}

impl Asked {
    /// Reads a request as the vendor does.
    pub fn read(
        request: &Request,
        model: &'static Model,
        behaviour: &Behaviour,
        origin: String,
    ) -> Result<Self, VendorError> {
        if request.body.len() > LARGEST {
            return Err(VendorError::invalid("Request payload size exceeds the limit: 20971520 bytes."));
        }
        let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(&request.body) else {
            return Err(VendorError::invalid("Invalid JSON payload received. Unexpected token."));
        };
        let top = object(&body, "", TOP)?;
        let contents = Contents::read(top.get("contents"), model)?;
        let empty = Value::Object(Map::new());
        let config = member(top, "generationConfig", "generation_config").unwrap_or(&empty);
        let config = object(config, "generation_config", CONFIG)?;
        if config.get("candidateCount").is_some_and(|count| count != 1) {
            return Err(VendorError::invalid("Multiple candidates is not enabled for this model"));
        }
        let modalities = read_modalities(member(config, "responseModalities", "response_modalities"))?;
        let image = member(config, "imageConfig", "image_config").unwrap_or(&empty);
        let image = object(image, "generation_config.image_config", IMAGE)?;
        let ratio = read_ratio(member(image, "aspectRatio", "aspect_ratio"), model)?;
        let (size, output_tokens) = read_size(member(image, "imageSize", "image_size"), model)?;
        let nearest = || contents.first_size.map_or("1:1", |size| sizes::nearest(model, size));
        let size = match (&ratio, behaviour.size) {
            (None, Some(size)) => size,
            (ratio, _) => sizes::pixels(model, ratio.as_deref().unwrap_or_else(nearest), &size),
        };
        let thinking = member(config, "thinkingConfig", "thinking_config");
        let thoughts = thinking.is_some_and(|thinking| thinking["includeThoughts"] == true);
        Ok(Self {
            model,
            text_tokens: contents.text.len().div_ceil(4),
            wish: Wish {
                subject: format!(
                    "{} {} {}",
                    contents.text,
                    contents.digest,
                    config.get("seed").unwrap_or(&Value::Null)
                ),
                count: 1,
                size,
                format: model.format,
                alpha: false,
                addresses: false,
                origin,
            },
            wants_text: modalities.contains(&"TEXT"),
            wants_image: modalities.contains(&"IMAGE"),
            wants_thoughts: thoughts,
            image_tokens: IMAGE_TOKENS * contents.images,
            output_tokens,
        })
    }
}

fn read_modalities(value: Option<&Value>) -> Result<Vec<&str>, VendorError> {
    let Some(value) = value else {
        return Ok(vec!["TEXT", "IMAGE"]);
    };
    let names: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match names.iter().find(|name| !["TEXT", "IMAGE"].contains(name)) {
        Some(name) => {
            Err(VendorError::invalid(format!("Invalid value at 'generation_config.response_modalities': {name}")))
        }
        None if names.is_empty() => Ok(vec!["TEXT", "IMAGE"]),
        None => Ok(names),
    }
}

fn read_ratio(value: Option<&Value>, model: &Model) -> Result<Option<String>, VendorError> {
    let Some(value) = value else { return Ok(None) };
    let ratio = value.as_str().unwrap_or_default();
    if sizes::ratios(model).contains(&ratio) {
        return Ok(Some(ratio.to_owned()));
    }
    let list = sizes::ratios(model).join(", ");
    Err(VendorError::invalid(format!("aspect_ratio must be one of {list}; got '{ratio}'.")))
}

fn read_size(value: Option<&Value>, model: &Model) -> Result<(String, u32), VendorError> {
    let Some(value) = value else {
        let tokens = model.sizes.iter().find(|(name, _)| *name == "1K").map_or(1290, |(_, tokens)| *tokens);
        return Ok(("1K".to_owned(), tokens));
    };
    let size = value.as_str().unwrap_or_default();
    match model.sizes.iter().find(|(name, _)| *name == size) {
        Some((_, tokens)) => Ok((size.to_owned(), *tokens)),
        None => Err(VendorError::invalid(format!("image_size '{size}' is not supported by model {}.", model.id))),
    }
}
