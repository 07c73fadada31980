//! A request for pictures that passed the vendor's checks, and these checks, as far as they are the same for new
//! pictures and for changed ones.

use super::error::VendorError;
use super::fields::Fields;
use super::models::{self, DEFAULT_SIZE, Family, MODELS, Model};
use crate::Behaviour;
use crate::picture::Format;
use crate::pictures::Wish;

/// A request that passed the vendor's checks.
#[derive(Debug)]
pub(crate) struct Asked {
    pub family: Family,
    pub wish: Wish,
    pub quality: String,
    pub background: &'static str,
    pub stream: bool,
    /// Events before the last one.
    pub partials: u32,
    /// Whether it changes pictures.
    pub is_edit: bool,
    pub text_tokens: usize,
    pub image_tokens: usize,
}

impl Asked {
    /// Reads a request for new pictures as the vendor does.
    pub fn read(fields: &Fields, behaviour: &Behaviour, origin: String) -> Result<Self, VendorError> {
        let model = read_model(fields)?;
        refuse_unknown(fields, model.family, &[])?;
        Self::read_common(fields, model, behaviour.size.unwrap_or(DEFAULT_SIZE), origin)
    }

    /// Reads what is the same for all; `auto` is the size for which nothing is said.
    pub fn read_common(fields: &Fields, model: &Model, auto: (u32, u32), origin: String) -> Result<Self, VendorError> {
        let family = model.family;
        let prompt = read_prompt(fields, family)?;
        let count = fields.number("n", 1, family.most_pictures())?.unwrap_or(1);
        let size = read_size(fields, family, auto)?;
        let addresses = read_addresses(fields, family)?;
        let quality = fields.one_of("quality", family.qualities())?.unwrap_or("auto").to_owned();
        let format = read_format(fields, family)?;
        let alpha = read_background(fields, family, format)?;
        fields.one_of("moderation", if family == Family::Compatible { &[] } else { &["auto", "low"] })?;
        let stream = fields.flag("stream")?;
        let partials = fields.number("partial_images", 0, 3)?.unwrap_or(0);
        if partials > 0 && !stream {
            let message = "'partial_images' is only supported when 'stream' is true.";
            return Err(VendorError::parameter("partial_images", "invalid_value", message));
        }
        Ok(Self {
            family,
            text_tokens: prompt.len().div_ceil(4),
            wish: Wish { subject: prompt, count, size, format, alpha, addresses, origin },
            quality,
            background: if alpha { "transparent" } else { "opaque" },
            stream,
            partials,
            is_edit: false,
            image_tokens: 0,
        })
    }
}

pub(super) fn read_model(fields: &Fields) -> Result<&'static Model, VendorError> {
    match fields.text("model")? {
        None => MODELS.first().ok_or_else(|| VendorError::unknown_model("")),
        Some(id) => models::find(id).ok_or_else(|| VendorError::unknown_model(id)),
    }
}

pub(super) fn refuse_unknown(fields: &Fields, family: Family, further: &[&str]) -> Result<(), VendorError> {
    let known = ["prompt", "model", "n", "size", "user"];
    let unknown = |name: &&String| {
        family != Family::Compatible
            && !known.contains(&name.as_str())
            && !further.contains(&name.as_str())
            && !family.further_parameters().contains(&name.as_str())
    };
    match fields.values.keys().find(unknown) {
        Some(name) => Err(VendorError::parameter(name, "unknown_parameter", format!("Unknown parameter: '{name}'."))),
        None => Ok(()),
    }
}

fn read_prompt(fields: &Fields, family: Family) -> Result<String, VendorError> {
    let prompt =
        fields.text("prompt")?.filter(|prompt| !prompt.is_empty()).ok_or_else(|| VendorError::missing("prompt"))?;
    let (longest, length) = (family.longest_prompt(), prompt.chars().count());
    if length > longest {
        let message = format!(
            "Invalid 'prompt': string too long. Expected a string with maximum length {longest}, but got a string with \
             length {length} instead."
        );
        return Err(VendorError::parameter("prompt", "string_above_max_length", message));
    }
    Ok(prompt.to_owned())
}

fn read_size(fields: &Fields, family: Family, auto: (u32, u32)) -> Result<(u32, u32), VendorError> {
    let text = match fields.text("size")? {
        None | Some("auto") => return Ok(auto),
        Some(text) => text,
    };
    let size = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let refused = match size {
        None => Some(format!("Invalid size '{text}'. Sizes are written as '1024x1024'.")),
        Some(size) => family.refuse_size(size),
    };
    match (size, refused) {
        (Some(size), None) => Ok(size),
        (_, message) => Err(VendorError::parameter("size", "invalid_value", message.unwrap_or_default())),
    }
}

fn read_addresses(fields: &Fields, family: Family) -> Result<bool, VendorError> {
    match fields.text("response_format")? {
        None => Ok(family.gives_addresses()),
        Some("b64_json") => Ok(false),
        Some("url") => Ok(true),
        Some(other) => Err(VendorError::value("response_format", other, &["b64_json", "url"])),
    }
}

fn read_format(fields: &Fields, family: Family) -> Result<Format, VendorError> {
    let names = ["png", "jpeg", "webp"];
    let format = fields.one_of("output_format", &names)?.and_then(Format::parse).unwrap_or(Format::Png);
    let compression = fields.number("output_compression", 0, 100)?;
    if family != Family::Compatible && format == Format::Png && compression.is_some_and(|percent| percent < 100) {
        let message = "Compression less than 100 is not supported for PNG output format.";
        return Err(VendorError::parameter("output_compression", "invalid_value", message));
    }
    Ok(format)
}

fn read_background(fields: &Fields, family: Family, format: Format) -> Result<bool, VendorError> {
    let names: &[&str] = if family == Family::Compatible { &[] } else { &["transparent", "opaque", "auto"] };
    let transparent = fields.one_of("background", names)? == Some("transparent");
    if transparent && format == Format::Jpeg {
        let message = "Transparent background is not supported for JPEG output format.";
        return Err(VendorError::parameter("background", "invalid_value", message));
    }
    Ok(transparent)
}
