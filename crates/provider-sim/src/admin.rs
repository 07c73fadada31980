//! `/admin`: counters and behaviour of a running stand-in, for people and scripts that did not start it.

use serde_json::{Map, Value, json};

use crate::http::Reply;
use crate::json::put;
use crate::state::State;
use crate::{Behaviour, Request, Vendor};

/// What `POST` takes.
enum Wish {
    /// One for each of the next requests for pictures; then all goes on as before.
    Script(Vec<Behaviour>),
    /// From now on.
    Behaviour(Box<Behaviour>),
}

/// Answers `GET` (counters and behaviour), `POST` (a whole new behaviour, or a list of them for the next requests) and
/// `DELETE` (forget counters, requests, tasks and behaviour). `GET /admin?requests` adds what was asked.
pub(crate) fn answer(request: &Request, state: &State) -> Reply {
    match request.method.as_str() {
        "GET" => {}
        "DELETE" => {
            state.forget();
            state.set(Behaviour::default());
        }
        "POST" => match read(&request.body) {
            Ok(Wish::Behaviour(behaviour)) => state.set(*behaviour),
            Ok(Wish::Script(script)) => state.script(script),
            Err(error) => return Reply::json(400, &json!({ "error": error })),
        },
        _ => return Reply::json(405, &json!({ "error": "use GET, POST or DELETE" })),
    }
    let vendors: Map<String, Value> = Vendor::ALL
        .iter()
        .filter(|vendor| state.counts_of(**vendor) != crate::Counts::default())
        .filter_map(|vendor| Some((json!(vendor).as_str()?.to_owned(), json!(state.counts_of(*vendor)))))
        .collect();
    let mut body = json!({
        "counts": state.counts(), "vendors": vendors, "behaviour": state.behaviour(), "scripted": state.scripted(),
    });
    if request.query("requests").is_some() || request.path.ends_with("?requests") {
        let told =
            |request: &Request| json!({ "method": request.method, "path": request.path, "body": request.json() });
        put(&mut body, "requests", state.requests(None).iter().map(told).collect::<Value>());
    }
    Reply::json(200, &body)
}

/// Read by hand, because an untagged error would not say which key is wrong.
fn read(body: &[u8]) -> Result<Wish, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if value.is_array() {
        serde_json::from_value(value).map(Wish::Script).map_err(|error| error.to_string())
    } else {
        serde_json::from_value(value).map(|behaviour| Wish::Behaviour(Box::new(behaviour))).map_err(|e| e.to_string())
    }
}
