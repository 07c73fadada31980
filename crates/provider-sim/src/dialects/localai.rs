//! `LocalAI`: addresses unless base64 is asked for, the negative prompt after a bar, `/images/inpainting` with a mask
//! that is white where it repaints; no `/images/edits`.

use serde_json::{Value, json};

use super::common::{Body, models};
use crate::http::Reply;
use crate::pictures::{self, Item};
use crate::state::State;
use crate::vendor::Call;
use crate::{Behaviour, Fault, Request, image_in};

pub(super) fn call(method: &str, path: &str) -> Option<Call> {
    match (method, path) {
        ("POST", "/v1/images/generations" | "/images/generations") => Some(Call::Pictures(generations)),
        ("POST", "/v1/images/inpainting") => Some(Call::Pictures(inpainting)),
        ("GET", "/v1/models") => Some(Call::Lookup(|_, _, _, _| models("flux.1-dev-ggml"))),
        _ => None,
    }
}

fn generations(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let Some(body) = Body::read(request).filter(|_| request.header("content-type").is_some()) else {
        return error(400, "invalid character in the body");
    };
    if body.text("prompt").is_empty() {
        return error(400, "prompt is empty");
    }
    let inputs = ["ref_images", "files"].iter().filter_map(|name| body.fields.get(*name)?.as_array()).flatten();
    let inputs = inputs.chain(body.fields.get("file")).filter_map(Value::as_str);
    if inputs.into_iter().any(|input| image_in::read(input).is_none()) {
        return error(500, "could not decode the input image");
    }
    answer(&body, request, behaviour, fault, state)
}

fn inpainting(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let Some(body) = Body::read(request) else { return error(400, "a form is required") };
    if body.files_of(&["image"]).len() != 1 || body.files_of(&["mask"]).len() != 1 || body.text("prompt").is_empty() {
        return error(400, "missing prompt, image or mask");
    }
    if !body.files_fit() {
        return error(400, "image and mask must be pictures of the same size");
    }
    answer(&body, request, behaviour, fault, state)
}

fn answer(body: &Body, request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    if fault.and_then(Fault::refusal).is_some() {
        return error(400, "the prompt was rejected by the content policy");
    }
    let first = body.files_of(&["image"]).first().and_then(|file| image_in::look(file));
    let mut wish = body.wish(first.map_or((512, 512), |seen| (seen.width, seen.height)), request, behaviour, state);
    wish.addresses = body.text("response_format") != "b64_json";
    let item = |item: &Item| match item {
        Item::Base64(text) => format!(r#"{{"embedding":null,"index":0,"b64_json":"{text}"}}"#),
        Item::Address(url) => format!(r#"{{"embedding":null,"index":0,"url":{}}}"#, Value::from(url.as_str())),
        Item::Nothing => r#"{"embedding":null,"index":0}"#.to_owned(),
    };
    let mut items: Vec<String> = pictures::make(&wish, behaviour, fault, state).iter().map(item).collect();
    if let Some(Fault::NoPicture(form)) = fault {
        items = if form % 3 == 1 { vec![r#"{"embedding":null,"index":0}"#.to_owned()] } else { Vec::new() };
    }
    let usage = json!({
        "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
        "input_tokens_details": { "text_tokens": 0, "image_tokens": 0 },
    });
    let text = format!(
        r#"{{"created":1794000012,"id":"2c0c7c7e-9d0d-4f3c-8a5a-1f0c1b2a3c4d","data":[{}],"usage":{usage}}}"#,
        items.join(",")
    );
    Reply::new(200, "application/json", text)
}

/// The code is a number here.
pub(super) fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({ "error": { "message": message, "code": status, "type": "" } }))
}
