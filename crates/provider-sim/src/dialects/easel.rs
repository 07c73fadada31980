//! Another Easel: `POST /api/generate-image` and `GET /api/image-models`, with problem details for errors.

use serde_json::{Value, json};

use super::common::Body;
use crate::http::Reply;
use crate::json::put;
use crate::picture::Format;
use crate::pictures::{self, Item};
use crate::state::State;
use crate::vendor::{Call, Failure};
use crate::{Behaviour, Fault, Request, image_in};

pub(super) fn call(method: &str, path: &str) -> Option<Call> {
    match (method, path) {
        ("POST", "/api/generate-image") => Some(Call::Pictures(generate)),
        ("GET", "/api/image-models") => Some(Call::Lookup(list_models)),
        _ => None,
    }
}

/// What this build of it understands. It refuses what it does not know, as Easel does.
const FIELDS: &[&str] = &[
    "prompt",
    "negative_prompt",
    "provider",
    "model",
    "fallback",
    "n",
    "width",
    "height",
    "size",
    "aspect_ratio",
    "seed",
    "steps",
    "guidance_scale",
    "scheduler",
    "strength",
    "strict",
    "image",
    "mask",
    "reference_images",
    "loras",
    "controlnets",
    "output_format",
    "output_quality",
    "response_format",
    "cache",
    "timeout_ms",
];

fn generate(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let Some(body) = Body::read(request).filter(|body| body.files.is_empty()) else {
        return problem(400, "invalid_json", "the body is no JSON object", None);
    };
    if let Some(name) = body.fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return problem(422, "unknown_field", "there is no such field", Some(name));
    }
    if body.text("prompt").is_empty() {
        return problem(422, "missing_field", "the prompt is missing", Some("prompt"));
    }
    let references = body.fields.get("reference_images").and_then(Value::as_array).into_iter().flatten();
    let inputs = ["image", "mask"].iter().filter_map(|name| body.fields.get(*name)).chain(references);
    if inputs.filter_map(Value::as_str).any(|input| image_in::read(input).is_none()) {
        return problem(422, "invalid_field", "it is no picture", Some("image"));
    }
    if fault.and_then(Fault::refusal).is_some() {
        return problem(422, "content_rejected", "the other house refused what was asked", None);
    }
    Reply::new(200, "application/json", answer(&body, request, behaviour, fault, state))
}

fn answer(body: &Body, request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> String {
    let mut wish = body.wish((1024, 1024), request, behaviour, state);
    if let (Some(width), Some(height)) = (body.number("width"), body.number("height")) {
        wish.size = (width, height);
    }
    wish.format = Format::parse(body.text("output_format")).unwrap_or(Format::Png);
    wish.addresses = body.text("response_format") == "url";
    let (width, height) = wish.size;
    let seed = body.fields.get("seed").and_then(Value::as_u64).unwrap_or(7);
    let items = pictures::make(&wish, behaviour, fault, state);
    let item = |(at, item): (usize, &Item)| {
        let (picture, url) = match item {
            Item::Base64(text) => (format!("\"{text}\""), Value::Null),
            Item::Address(url) => ("null".to_owned(), json!(url)),
            Item::Nothing => ("null".to_owned(), Value::Null),
        };
        format!(
            r#"{{"b64_json":{picture},"url":{url},"mime_type":"{}","width":{width},"height":{height},"seed":{}}}"#,
            wish.format.mime(),
            seed + at as u64
        )
    };
    let mut images: Vec<String> = items.iter().enumerate().map(item).collect();
    if let Some(Fault::NoPicture(form)) = fault {
        images = if form % 3 == 1 { vec![r#"{"b64_json":null,"url":null}"#.to_owned()] } else { Vec::new() };
    }
    let named = |name: &str| body.fields.get(name).cloned().unwrap_or_default();
    let rest = json!({
        "provider": "stand_in", "model": "any", "requested": { "provider": named("provider"), "model": named("model") },
        "fallback": { "used": false, "policy": "auto" }, "ignored": [],
        "attempts": [{
            "provider": "stand_in", "model": "any", "outcome": "ok", "reason": null, "calls": 1, "duration_ms": 1,
        }],
        "cache": "miss", "cost_usd": 0.0013, "timings_ms": { "total": 2, "overhead": 1 }, "request_id": "stand-in-1",
    });
    format!(r#"{{"images":[{}],{}"#, images.join(","), rest.to_string().trim_start_matches('{'))
}

fn list_models(_: &Request, _: &Behaviour, _: Option<Fault>, _: &State) -> Reply {
    let provider = json!({
        "name": "stand_in", "display_name": "Stand-in", "description": "Draws gradients", "available": true,
        "reason": null, "setup": null, "default_model": "any", "priority": 1,
        "models": [{ "key": "any", "name": "Stand-in", "is_default": true }],
    });
    let body = json!({
        "providers": { "stand_in": provider }, "current_provider": "stand_in", "current_model": "any",
    });
    Reply::json(200, &body)
}

fn problem(status: u16, code: &str, detail: &str, field: Option<&str>) -> Reply {
    let mut body = json!({
        "type": format!("urn:easel:problem:{code}"), "title": code, "status": status, "detail": detail, "code": code,
        "hint": "", "request_id": "stand-in-1",
    });
    if let Some(field) = field {
        put(&mut body, "field", field);
    }
    Reply { content_type: "application/problem+json", ..Reply::json(status, &body) }
}

pub(super) fn error(status: u16, message: &str, failure: Failure) -> Reply {
    let code = match (failure, status) {
        (_, 400) => return problem(422, "invalid_request", message, None),
        (_, 401) => "unauthorized",
        (Failure::Quota(_), _) | (_, 402) => return problem(503, "provider_quota_exhausted", message, None),
        (_, 403) => "admin_only",
        (Failure::UnknownPath, _) => "not_found",
        (_, 404) => "unknown_model",
        (_, 429) => "rate_limited",
        (_, 502) => "provider_protocol",
        (_, 503) => "nothing_available",
        (_, 504) => "deadline_exceeded",
        _ => "internal",
    };
    problem(status, code, message, None)
}
