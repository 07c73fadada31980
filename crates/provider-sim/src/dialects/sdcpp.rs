//! The server of stable-diffusion.cpp: a prompt, a count, a size and a format; all else inside the prompt between
//! `<sd_cpp_extra_args>`. Masks are white where they repaint. An error is a text.

use serde_json::{Value, json};

use super::common::{Body, models};
use crate::http::Reply;
use crate::picture::Format;
use crate::pictures::{self, Item};
use crate::state::State;
use crate::vendor::Call;
use crate::{Behaviour, Fault, Request, image_in};

pub(super) fn call(method: &str, path: &str) -> Option<Call> {
    match (method, path) {
        ("POST", "/v1/images/generations") => Some(Call::Pictures(generations)),
        ("POST", "/v1/images/edits") => Some(Call::Pictures(edits)),
        ("GET", "/v1/models") => Some(Call::Lookup(|_, _, _, _| models("sd-cpp-local"))),
        _ => None,
    }
}

fn generations(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    if request.body.is_empty() {
        return error(400, "empty body");
    }
    match Body::read(request) {
        Some(body) => answer(&body, request, behaviour, fault, state),
        None => error(500, "the body is no JSON"),
    }
}

fn edits(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    match Body::read(request) {
        Some(body) if body.files_of(&["image", "image[]"]).is_empty() => error(400, "image required"),
        Some(body) if !body.files_fit() => error(400, "invalid image or mask"),
        Some(body) => answer(&body, request, behaviour, fault, state),
        None => error(400, "Content-Type must be multipart/form-data"),
    }
}

fn answer(body: &Body, request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let prompt = body.text("prompt");
    if prompt.is_empty() {
        return error(400, "prompt required");
    }
    let format = match body.text("output_format") {
        "" | "png" => Format::Png,
        "jpeg" => Format::Jpeg,
        "webp" => Format::Webp,
        _ => return error(400, "invalid output_format, must be one of [png, jpeg, webp]"),
    };
    let extra = prompt.split_once("<sd_cpp_extra_args>").and_then(|(_, rest)| rest.split_once("</sd_cpp_extra_args>"));
    if extra.is_some_and(|(json, _)| serde_json::from_str::<Value>(json).is_err()) {
        return error(400, "invalid params");
    }
    if fault.and_then(Fault::refusal).is_some() {
        return error(400, "the prompt was rejected by the content policy");
    }
    let first = body.files_of(&["image[]", "image"]).first().and_then(|file| image_in::look(file));
    let mut wish = body.wish(first.map_or((512, 512), |seen| (seen.width, seen.height)), request, behaviour, state);
    wish.count = wish.count.clamp(1, 8);
    wish.format = format;
    let item = |item: &Item| match item {
        Item::Base64(text) => format!(r#"{{"b64_json":"{text}"}}"#),
        Item::Address(url) => json!({ "url": url }).to_string(),
        Item::Nothing => "{}".to_owned(),
    };
    let mut items: Vec<String> = pictures::make(&wish, behaviour, fault, state).iter().map(item).collect();
    if let Some(Fault::NoPicture(form)) = fault {
        items = if form % 3 == 1 { vec![r#"{"b64_json":""}"#.to_owned()] } else { Vec::new() };
    }
    let text = format!(r#"{{"created":1794000011,"output_format":"{}","data":[{}]}}"#, format.name(), items.join(","));
    Reply::new(200, "application/json", text)
}

/// A text for the caller's mistakes, a name and a message for the server's.
pub(super) fn error(status: u16, message: &str) -> Reply {
    if status < 500 {
        return Reply::json(status, &json!({ "error": message }));
    }
    Reply::json(status, &json!({ "error": "server_error", "message": message }))
}
