//! Runware: arrays of tasks over REST (`POST /runware/v1`, or `/v1` as on the vendor's host) and over a WebSocket, as
//! the vendor reads and answers them.

mod check;
mod error;
mod fields;
mod inference;
mod lookups;
mod models;
mod outcome;
mod refusal;
mod run;
mod socket;
mod tasks;

use serde_json::Value;

use crate::http::Reply;
use crate::state::State;
use crate::vendor::Call;
use crate::{Behaviour, Fault, Request};

use error::TaskError;
pub(crate) use error::{QUOTAS, failure};
pub(crate) use refusal::REFUSALS;
pub(crate) use socket::{opens_socket, serve_socket};
pub(crate) use tasks::Tasks;

/// What a request is for; `None` where the vendor has nothing.
pub(crate) fn call(method: &str, path: &str, request: &Request) -> Option<Call> {
    if method != "POST" || !matches!(path, "/v1" | "/v1/") {
        return None;
    }
    let tasks = request.json();
    let buys = tasks.as_array().is_none_or(|tasks| {
        tasks.is_empty() || tasks.iter().any(|task| !lookups::is_one(task["taskType"].as_str().unwrap_or_default()))
    });
    Some(if buys { Call::Pictures(answer) } else { Call::Lookup(answer) })
}

/// The key of a first element `{"taskType": "authentication", "apiKey": …}`.
pub(crate) fn key_in_body(request: &Request) -> Option<String> {
    let tasks = request.json();
    let first = tasks.get(0).filter(|task| task["taskType"] == "authentication")?;
    first["apiKey"].as_str().map(str::to_owned)
}

fn answer(request: &Request, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Reply {
    let tasks = match serde_json::from_slice(&request.body) {
        Ok(Value::Array(tasks)) if !tasks.is_empty() => tasks,
        Ok(_) | Err(_) => return TaskError::not_an_array().reply(behaviour.shape),
    };
    let mut run = run::Run { behaviour, fault, state, origin: state.origin(request), dry: false };
    run.dry = request.header("x-runware-dry-run").is_some_and(|value| value != "0");
    run.all(&tasks).reply(behaviour.shape, fault)
}
