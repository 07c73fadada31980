//! The `OpenAI` Images API: `/v1/images/generations`, `/v1/images/edits` and `/v1/models`, as the vendor reads and
//! answers them. No I/O.

mod asked;
mod edits;
mod error;
mod fields;
mod models;
mod output;
mod parameter;
mod stream;

use serde_json::{Value, json};

use crate::http::Reply;
use crate::state::State;
use crate::vendor::Call;
use crate::{Behaviour, Fault, Request, pictures};

use asked::Asked;
use error::VendorError;
pub(crate) use error::{QUOTAS, REFUSALS, failure};
use fields::Fields;

/// What a request is for; `None` where the vendor has nothing.
pub(crate) fn call(method: &str, path: &str) -> Option<Call> {
    match (method, path) {
        ("POST", "/v1/images/generations") => Some(Call::Pictures(generations)),
        ("POST", "/v1/images/edits") => Some(Call::Pictures(edits_of)),
        ("GET", "/v1/models") => Some(Call::Lookup(list_models)),
        ("GET", path) if model_id(path).is_some() => Some(Call::Lookup(show_model)),
        _ => None,
    }
}

fn generations(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let asked = Fields::json(request).and_then(|fields| Asked::read(&fields, behaviour, state.origin(request)));
    answer(asked, behaviour, fault, state)
}

fn edits_of(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let asked = edits::read(request, behaviour, state.origin(request));
    answer(asked, behaviour, fault, state)
}

fn answer(asked: Result<Asked, VendorError>, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return error.reply(behaviour.shape),
    };
    let refusal = fault.and_then(Fault::refusal);
    if let Some(form) = refusal
        && !(asked.stream && form % REFUSALS == 1)
    {
        return VendorError::refused(form).reply(behaviour.shape);
    }
    let items = pictures::make(&asked.wish, behaviour, fault, state);
    if asked.stream {
        return stream::events(&asked, &items, behaviour, fault);
    }
    output::whole(&asked, &items, behaviour, fault)
}

fn list_models(_: &Request, _: &Behaviour, _: Option<Fault>, _: &State) -> Reply {
    let data: Vec<Value> = models::MODELS.iter().map(|model| described(model.id)).collect();
    Reply::json(200, &json!({ "object": "list", "data": data }))
}

fn show_model(request: &Request, behaviour: &Behaviour, _: Option<Fault>, _: &State) -> Reply {
    let id = model_id(request.route()).unwrap_or_default();
    match models::find(id) {
        Some(model) => Reply::json(200, &described(model.id)),
        None => VendorError::unknown_model(id).reply(behaviour.shape),
    }
}

/// The model of `/v1/models/ID`; Gemini's verbs are not part of an id.
fn model_id(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/models/").filter(|id| !id.is_empty() && !id.contains([':', '/']))
}

fn described(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 1_794_000_000, "owned_by": "stand-in" })
}
