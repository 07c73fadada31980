//! Gemini: `POST /gemini/v1beta/models/MODEL:generateContent` and `:streamGenerateContent`, or `/v1beta/…` as on the
//! vendor's host, as the vendor reads and answers them. No I/O.

mod answer;
mod asked;
mod contents;
mod error;
mod members;
mod models;
mod refusal;
mod sizes;

use serde_json::{Value, json};

use crate::http::Reply;
use crate::state::State;
use crate::vendor::Call;
use crate::{Behaviour, Fault, Request};

use asked::Asked;
use error::VendorError;
use models::Model;

pub(crate) use error::{QUOTAS, failure};
pub(crate) use refusal::{NO_PICTURES, REFUSALS};

/// What a request is for; `None` where the vendor has nothing.
pub(crate) fn call(method: &str, path: &str) -> Option<Call> {
    let rest = ["/v1beta/models", "/v1alpha/models", "/v1/models"].iter().find_map(|start| path.strip_prefix(start))?;
    match (method, rest.split_once(':')) {
        ("POST", Some((_, "generateContent"))) => Some(Call::Pictures(generate)),
        ("POST", Some((_, "streamGenerateContent"))) => Some(Call::Pictures(stream)),
        ("GET", None) => Some(Call::Lookup(show_models)),
        _ => None,
    }
}

/// The keys that a request carries.
pub(crate) fn keys(request: &Request) -> [Option<&str>; 3] {
    [request.header("x-goog-api-key"), request.query("key"), request.bearer()]
}

fn generate(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    match read(request, behaviour, state) {
        Ok(asked) => Reply::new(200, "application/json", answer::whole(&asked, behaviour, fault, state)),
        Err(error) => error.reply(behaviour.shape),
    }
}

fn stream(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let asked = match read(request, behaviour, state) {
        Ok(asked) => asked,
        // Errors of the streaming endpoint come as a list of one.
        Err(error) => return error.reply(1),
    };
    let chunks = answer::chunks(&asked, behaviour, fault, state);
    if request.query("alt") == Some("sse") {
        return Reply::events(chunks.into_iter().map(|chunk| (None, chunk)));
    }
    Reply::new(200, "application/json", format!("[{}]", chunks.join(",\r\n")))
}

fn read(request: &Request, behaviour: &Behaviour, state: &State) -> Result<Asked, VendorError> {
    let id = request.route().rsplit_once("/models/").map_or("", |(_, rest)| rest);
    let id = id.split(':').next().unwrap_or_default();
    let model = Model::find(id).ok_or_else(|| VendorError::unknown_model(id))?;
    Asked::read(request, model, behaviour, state.origin(request))
}

fn show_models(request: &Request, behaviour: &Behaviour, _: Option<Fault>, _: &State) -> Reply {
    let described = |model: &Model| {
        json!({
            "name": format!("models/{}", model.id), "version": "001", "displayName": model.id,
            "inputTokenLimit": 32_768, "outputTokenLimit": 32_768,
            "supportedGenerationMethods": ["generateContent", "countTokens", "batchGenerateContent"],
        })
    };
    match request.route().rsplit_once("/models/") {
        None => {
            let models: Vec<Value> = models::MODELS.iter().map(described).collect();
            Reply::json(200, &json!({ "models": models }))
        }
        Some((_, id)) => Model::find(id).map_or_else(
            || VendorError::unknown_model(id).reply(behaviour.shape),
            |model| Reply::json(200, &described(model)),
        ),
    }
}
