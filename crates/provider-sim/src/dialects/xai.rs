//! xAI: ratios instead of sizes, edits as JSON, addresses by default, and refusals that come with 200 and
//! `respect_moderation: false`. Other errors are those of `OpenAI`.

use serde_json::{Value, json};

use super::common::{Body, models};
use crate::http::Reply;
use crate::picture::Format;
use crate::pictures::{self, Item};
use crate::state::State;
use crate::vendor::Call;
use crate::{Behaviour, Fault, Request, image_in};

/// Forms in which a prompt is refused: 200 with an address, 200 without, 400.
pub(crate) const REFUSALS: u8 = 3;

pub(super) fn call(method: &str, path: &str) -> Option<Call> {
    match (method, path) {
        ("POST", "/v1/images/generations") => Some(Call::Pictures(generations)),
        ("POST", "/v1/images/edits") => Some(Call::Pictures(edits)),
        ("GET", "/v1/models") => Some(Call::Lookup(|_, _, _, _| models("grok-imagine-image"))),
        _ => None,
    }
}

fn generations(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    match Body::read(request) {
        Some(body) => answer(&body, request, behaviour, fault, state),
        None => error(400, "The body is no JSON."),
    }
}

fn edits(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let Some(body) = Body::read(request).filter(|body| body.files.is_empty()) else {
        return error(415, "The body must be JSON.");
    };
    let images = body.fields.get("images").and_then(Value::as_array).cloned().unwrap_or_default();
    let images: Vec<Value> = images.into_iter().chain(body.fields.get("image").cloned()).collect();
    let fits = |image: &Value| image["url"].as_str().is_some_and(|url| image_in::read(url).is_some());
    if images.is_empty() || !images.iter().all(fits) {
        return error(400, "An image with a url is required.");
    }
    answer(&body, request, behaviour, fault, state)
}

fn answer(body: &Body, request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    if body.text("prompt").is_empty() {
        return error(400, "The prompt is missing.");
    }
    if let Some(name) = ["size", "seed", "mask", "negative_prompt"].iter().find(|name| body.fields.contains_key(**name))
    {
        return error(400, &format!("Argument not supported: {name}"));
    }
    let refusal = fault.and_then(Fault::refusal).map(|form| form % REFUSALS);
    if refusal == Some(2) {
        return error(400, "Generated image rejected by content moderation.");
    }
    let size = match body.text("aspect_ratio") {
        "" | "1:1" | "auto" => (1024, 1024),
        "16:9" => (1280, 720),
        "9:16" => (720, 1280),
        "4:3" => (1152, 864),
        "3:4" => (864, 1152),
        "3:2" => (1248, 832),
        "2:3" => (832, 1248),
        other => return error(400, &format!("Invalid aspect_ratio: {other}")),
    };
    let mut wish = body.wish(size, request, behaviour, state);
    wish.addresses = body.text("response_format") != "b64_json";
    wish.format = Format::Jpeg;
    let respected = refusal.is_none();
    let item = |item: &Item| match item {
        _ if refusal == Some(1) => r#"{"respect_moderation":false}"#.to_owned(),
        Item::Base64(text) => format!(r#"{{"b64_json":"{text}","respect_moderation":{respected}}}"#),
        Item::Address(url) => json!({ "url": url, "respect_moderation": respected }).to_string(),
        Item::Nothing => "{}".to_owned(),
    };
    let mut items: Vec<String> = pictures::make(&wish, behaviour, fault, state).iter().map(item).collect();
    if let Some(Fault::NoPicture(form)) = fault {
        items = if form % 3 == 1 { vec![r#"{"respect_moderation":true}"#.to_owned()] } else { Vec::new() };
    }
    let text = format!(r#"{{"data":[{}],"usage":{{"cost_in_usd_ticks":200000000}}}}"#, items.join(","));
    Reply::new(200, "application/json", text)
}

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({ "code": "The request was invalid", "error": message }))
}
