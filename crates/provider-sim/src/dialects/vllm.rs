//! vLLM-Omni: the names of diffusers for further parameters, base64 only, `FastAPI`'s errors: `detail` is a text, or a
//! list where a field is wrong.

use serde_json::{Value, json};

use super::common::{Body, models};
use crate::http::Reply;
use crate::pictures::{self, Item};
use crate::state::State;
use crate::vendor::Call;
use crate::{Behaviour, Fault, Request};

pub(super) fn call(method: &str, path: &str) -> Option<Call> {
    match (method, path) {
        ("POST", "/v1/images/generations") => Some(Call::Pictures(generations)),
        ("GET", "/v1/models") => Some(Call::Lookup(|_, _, _, _| models("Qwen/Qwen-Image"))),
        _ => None,
    }
}

fn generations(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let Some(body) = Body::read(request) else { return wrong("body", "JSON decode error") };
    if body.text("prompt").is_empty() {
        return wrong("prompt", "Field required");
    }
    let bounds = [("n", 1.0, 10.0), ("num_inference_steps", 1.0, 200.0), ("guidance_scale", 0.0, 20.0)];
    for (name, least, most) in bounds {
        let value = body.fields.get(name).filter(|value| !value.is_null());
        if value.is_some_and(|value| !value.as_f64().is_some_and(|number| (least..=most).contains(&number))) {
            return wrong(name, &format!("Input should be between {least} and {most}"));
        }
    }
    if !matches!(body.text("response_format"), "" | "b64_json") {
        return wrong("response_format", "Only 'b64_json' response format is supported");
    }
    if fault.and_then(Fault::refusal).is_some() {
        return error(400, "The prompt was rejected by the content policy");
    }
    let wish = body.wish((1024, 1024), request, behaviour, state);
    let item = |item: &Item| match item {
        Item::Base64(text) => format!(r#"{{"b64_json":"{text}","url":null,"revised_prompt":null}}"#),
        Item::Address(url) => {
            format!(r#"{{"b64_json":null,"url":{},"revised_prompt":null}}"#, Value::from(url.as_str()))
        }
        Item::Nothing => r#"{"b64_json":null,"url":null,"revised_prompt":null}"#.to_owned(),
    };
    let mut items: Vec<String> = pictures::make(&wish, behaviour, fault, state).iter().map(item).collect();
    if let Some(Fault::NoPicture(form)) = fault {
        items = if form % 3 == 1 { vec![r#"{"b64_json":null,"url":null}"#.to_owned()] } else { Vec::new() };
    }
    Reply::new(200, "application/json", format!(r#"{{"created":1794000010,"data":[{}]}}"#, items.join(",")))
}

fn wrong(field: &str, message: &str) -> Reply {
    let detail = json!([{ "type": "value_error", "loc": ["body", field], "msg": message, "input": null }]);
    Reply::json(422, &json!({ "detail": detail }))
}

pub(super) fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({ "detail": message }))
}
