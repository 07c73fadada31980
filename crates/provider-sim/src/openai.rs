//! `POST /v1/images/generations` as the vendor reads and answers it. No I/O: what goes wrong on the wire is the
//! server's business, what is wrong inside the body is this module's.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::error::VendorError;
use crate::http::Reply;
use crate::models::{self, DEFAULT_SIZE, Family, MODELS, Model};
use crate::state::State;
use crate::{Behaviour, Fault, Picture, Request};

/// A request that passed the vendor's checks.
#[derive(Debug)]
pub(crate) struct Asked {
    family: Family,
    prompt: String,
    count: u32,
    size: (u32, u32),
    quality: String,
    /// Whether pictures are named by their addresses.
    addresses: bool,
    /// What addresses begin with.
    origin: String,
}

/// Reads a request as the vendor does.
pub(crate) fn read(request: &Request, behaviour: &Behaviour, state: &State) -> Result<Asked, VendorError> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(&request.body) else {
        return Err(VendorError::not_json());
    };
    let model = read_model(&fields)?;
    let family = model.family;
    refuse_unknown(&fields, family)?;
    let prompt = read_prompt(&fields, family)?;
    let count = read_count(&fields, family)?;
    let size = read_size(&fields, family, behaviour)?;
    let addresses = read_addresses(&fields, family)?;
    refuse_unoffered(&fields)?;
    let quality = fields.get("quality").and_then(Value::as_str).unwrap_or("auto").to_owned();
    Ok(Asked { family, prompt, count, size, quality, addresses, origin: state.origin(request) })
}

fn read_model(fields: &Map<String, Value>) -> Result<&'static Model, VendorError> {
    match fields.get("model") {
        None | Some(Value::Null) => MODELS.first().ok_or_else(|| VendorError::unknown_model("")),
        Some(Value::String(id)) => models::find(id).ok_or_else(|| VendorError::unknown_model(id)),
        Some(other) => Err(wrong_type("model", "a string", other)),
    }
}

fn refuse_unknown(fields: &Map<String, Value>, family: Family) -> Result<(), VendorError> {
    let known = ["prompt", "model", "n", "size", "user"];
    let unknown = |name: &&String| {
        family != Family::Compatible
            && !known.contains(&name.as_str())
            && !family.further_parameters().contains(&name.as_str())
    };
    match fields.keys().find(unknown) {
        Some(name) => Err(VendorError::parameter(name, "unknown_parameter", format!("Unknown parameter: '{name}'."))),
        None => Ok(()),
    }
}

fn read_prompt(fields: &Map<String, Value>, family: Family) -> Result<String, VendorError> {
    let missing =
        || VendorError::parameter("prompt", "missing_required_parameter", "Missing required parameter: 'prompt'.");
    let prompt = match fields.get("prompt") {
        None | Some(Value::Null) => return Err(missing()),
        Some(Value::String(prompt)) if prompt.is_empty() => return Err(missing()),
        Some(Value::String(prompt)) => prompt,
        Some(other) => return Err(wrong_type("prompt", "a string", other)),
    };
    let (longest, length) = (family.longest_prompt(), prompt.chars().count());
    if length > longest {
        let message = format!(
            "Invalid 'prompt': string too long. Expected a string with maximum length {longest}, but got a string with \
             length {length} instead."
        );
        return Err(VendorError::parameter("prompt", "string_above_max_length", message));
    }
    Ok(prompt.clone())
}

fn read_count(fields: &Map<String, Value>, family: Family) -> Result<u32, VendorError> {
    let most = family.most_pictures();
    let count = match fields.get("n") {
        None | Some(Value::Null) => return Ok(1),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.as_u64().unwrap_or(0),
        Some(other) => return Err(wrong_type("n", "an integer", other)),
    };
    let refuse = |code, side: &str, bound: u64| {
        let message = format!("Invalid 'n': integer {side} value. Expected a value {bound}, but got {count} instead.");
        Err(VendorError::parameter("n", code, message))
    };
    if count < 1 {
        refuse("integer_below_min_value", "below minimum", 1)
    } else if count > most {
        refuse("integer_above_max_value", "above maximum", most)
    } else {
        Ok(u32::try_from(count).unwrap_or(1))
    }
}

fn read_size(fields: &Map<String, Value>, family: Family, behaviour: &Behaviour) -> Result<(u32, u32), VendorError> {
    let text = match fields.get("size") {
        None | Some(Value::Null) => return Ok(behaviour.size.unwrap_or(DEFAULT_SIZE)),
        Some(Value::String(text)) if text == "auto" => {
            return Ok(behaviour.size.unwrap_or(DEFAULT_SIZE));
        }
        Some(Value::String(text)) => text,
        Some(other) => return Err(wrong_type("size", "a string", other)),
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

fn read_addresses(fields: &Map<String, Value>, family: Family) -> Result<bool, VendorError> {
    match fields.get("response_format").map(Value::as_str) {
        None => Ok(family.gives_addresses()),
        Some(Some("b64_json")) => Ok(false),
        Some(Some("url")) => Ok(true),
        Some(_) => Err(VendorError::parameter(
            "response_format",
            "invalid_value",
            "Invalid value for 'response_format'. Supported values are: 'b64_json' and 'url'.",
        )),
    }
}

/// What the vendor offers and this stand-in does not: it says so instead of doing something else.
fn refuse_unoffered(fields: &Map<String, Value>) -> Result<(), VendorError> {
    let stream = fields.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let format = fields.get("output_format").and_then(Value::as_str).unwrap_or("png");
    if stream {
        return Err(VendorError::parameter("stream", "invalid_value", "This stand-in does not stream."));
    }
    if format != "png" {
        return Err(VendorError::parameter("output_format", "invalid_value", "This stand-in draws 'png' only."));
    }
    Ok(())
}

fn wrong_type(param: &str, expected: &str, got: &Value) -> VendorError {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let message = format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
    VendorError::parameter(param, "invalid_type", message)
}

/// The pictures, or what the fault makes of them.
pub(crate) fn answer(asked: &Asked, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let count = if fault == Some(Fault::FewerPictures) { asked.count.saturating_sub(1) } else { asked.count };
    let items: Vec<String> = match fault {
        Some(Fault::EmptyData) => Vec::new(),
        Some(Fault::EmptyItem) => vec!["{}".to_owned()],
        _ => (0..count).map(|index| item(asked, behaviour, fault, state, index)).collect(),
    };
    // Written by hand: a tree of JSON values would copy megabytes of base64 twice.
    let mut body = format!(r#"{{"created":{},"data":[{}]"#, created(), items.join(","));
    if asked.family.reports_usage() {
        let (width, height) = asked.size;
        let usage = json!({
            "input_tokens": 14, "output_tokens": 1056 * count, "total_tokens": 14 + 1056 * count,
            "input_tokens_details": { "text_tokens": 14, "image_tokens": 0 },
        });
        let _ = write!(
            body,
            r#","background":"opaque","output_format":"png","quality":{},"size":"{width}x{height}","usage":{usage}"#,
            Value::from(asked.quality.as_str()),
        );
    }
    body.push('}');
    Reply::new(200, "application/json", body).with_header("x-request-id", "req_stand_in")
}

fn item(asked: &Asked, behaviour: &Behaviour, fault: Option<Fault>, state: &State, index: u32) -> String {
    let (mut width, height) = asked.size;
    if fault == Some(Fault::WrongSize) {
        width += 8;
    }
    let subject = Picture::subject(&asked.prompt, behaviour.seed, index);
    let picture = Picture { width, height, subject, bytes: behaviour.bytes };
    if asked.addresses || fault == Some(Fault::UrlInsteadOfBase64) {
        return format!(r#"{{"url":"{}/pictures/{width}x{height}-{subject}.png"}}"#, asked.origin);
    }
    let text = match fault {
        Some(Fault::InvalidBase64) => Arc::from("this is *not* base64!"),
        Some(Fault::NotAPicture) => Arc::from(BASE64.encode("this is not a picture")),
        Some(Fault::HalfPicture) => {
            let file = picture.encode();
            Arc::from(BASE64.encode(file.get(..file.len() / 2).unwrap_or_default()))
        }
        Some(Fault::CorruptPicture) => {
            let mut file = picture.encode();
            let middle = file.len() / 2;
            if let Some(byte) = file.get_mut(middle) {
                *byte ^= 0x10;
            }
            Arc::from(BASE64.encode(file))
        }
        _ => state.drawn(picture),
    };
    format!(r#"{{"b64_json":"{text}"}}"#)
}

/// `GET /v1/models`.
pub(crate) fn list_models() -> Reply {
    let data: Vec<Value> = MODELS
        .iter()
        .map(|model| json!({ "id": model.id, "object": "model", "created": 1_794_000_000, "owned_by": "stand-in" }))
        .collect();
    Reply::json(200, &json!({ "object": "list", "data": data }))
}

/// `GET /pictures/WxH-SUBJECT.png`, as given out in an answer.
pub(crate) fn serve_picture(path: &str, behaviour: &Behaviour) -> Option<Reply> {
    let (size, subject) = path.strip_prefix("/pictures/")?.strip_suffix(".png")?.split_once('-')?;
    let (width, height) = size.split_once('x')?;
    let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
    if width.max(height) > 4200 || width.min(height) < 1 {
        return None;
    }
    let picture = Picture { width, height, subject: subject.parse().ok()?, bytes: behaviour.bytes };
    Some(Reply::new(200, "image/png", picture.encode()))
}

fn created() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
