//! A request that passed the vendor's checks, and these checks.

use serde_json::{Map, Value};

use super::error::VendorError;
use super::models::Model;
use super::sizes;
use crate::image_in::{self, Named};
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
        let contents = read_contents(top.get("contents"), model)?;
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

/// Members that are known, in camel case.
const TOP: &[&str] = &[
    "contents",
    "systemInstruction",
    "generationConfig",
    "safetySettings",
    "tools",
    "toolConfig",
    "cachedContent",
    "model",
    "labels",
    "serviceTier",
    "store",
];
const CONFIG: &[&str] = &[
    "responseModalities",
    "imageConfig",
    "temperature",
    "topP",
    "topK",
    "seed",
    "maxOutputTokens",
    "candidateCount",
    "thinkingConfig",
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "presencePenalty",
    "frequencyPenalty",
    "mediaResolution",
];
const IMAGE: &[&str] = &["aspectRatio", "imageSize"];
const PART: &[&str] = &["text", "inlineData", "fileData", "thought", "thoughtSignature"];

/// An object of which every member is known, in either case.
fn object<'a>(value: &'a Value, place: &str, known: &[&str]) -> Result<&'a Map<String, Value>, VendorError> {
    let object = value.as_object().ok_or_else(|| VendorError::invalid(format!("Invalid value at '{place}'.")))?;
    match object.keys().find(|name| !known.contains(&camel(name).as_str())) {
        Some(name) => Err(VendorError::unknown_name(name, place)),
        None => Ok(object),
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |joined, word| {
        let mut letters = word.chars();
        joined + &letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    })
}

fn member<'a>(object: &'a Map<String, Value>, camel: &str, snake: &str) -> Option<&'a Value> {
    object.get(camel).or_else(|| object.get(snake))
}

/// What was found in `contents`.
#[derive(Default)]
struct Contents {
    text: String,
    images: usize,
    digest: u64,
    first_size: Option<(u32, u32)>,
}

fn read_contents(contents: Option<&Value>, model: &Model) -> Result<Contents, VendorError> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let contents = contents.and_then(Value::as_array).filter(|contents| !contents.is_empty());
    let contents =
        contents.ok_or_else(|| VendorError::invalid("* GenerateContentRequest.contents: contents is not specified"))?;
    let (mut found, mut hasher) = (Contents::default(), DefaultHasher::new());
    for content in contents {
        let content = object(content, "contents[0]", &["role", "parts"])?;
        if content.get("role").is_some_and(|role| role != "user" && role != "model") {
            return Err(VendorError::invalid("Please use a valid role: user, model."));
        }
        for part in content.get("parts").and_then(Value::as_array).into_iter().flatten() {
            let part = object(part, "contents[0].parts[0]", PART)?;
            if let Some(text) = part.get("text").and_then(Value::as_str) {
                found.text += text;
            }
            let inline = member(part, "inlineData", "inline_data");
            if member(part, "fileData", "file_data").is_some() {
                found.images += 1;
            }
            let Some(inline) = inline else { continue };
            let inline = object(inline, "contents[0].parts[0].inline_data", &["mimeType", "data", "displayName"])?;
            let mime = member(inline, "mimeType", "mime_type").and_then(Value::as_str).unwrap_or_default();
            let data = inline.get("data").and_then(Value::as_str).unwrap_or_default();
            if !mime.starts_with("image/") {
                return Err(VendorError::invalid(format!("Unsupported MIME type: {mime}")));
            }
            // Bare base64 only: the vendor does not read data URIs, nor addresses.
            let seen = match image_in::read(data) {
                Some(Named::File(seen)) if !data.starts_with("data:") => seen,
                _ => return Err(VendorError::invalid("Unable to process input image. Please retry or report.")),
            };
            if seen.format.to_mime_type() != mime {
                return Err(VendorError::invalid(format!("The input image is not of the type {mime}.")));
            }
            found.images += 1;
            data.hash(&mut hasher);
            found.first_size.get_or_insert((seen.width, seen.height));
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
