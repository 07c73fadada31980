//! `/admin`: counters and behaviour of a running stand-in, for people and scripts that did not start it.

use serde_json::json;

use crate::Request;
use crate::http::Reply;
use crate::state::State;

/// Answers `GET` (counters and behaviour), `POST` (a whole new behaviour) and `DELETE` (forget counters and behaviour).
pub(crate) fn answer(request: &Request, state: &State) -> Reply {
    match request.method.as_str() {
        "GET" => {}
        "DELETE" => {
            state.forget();
            state.set(crate::Behaviour::default());
        }
        "POST" => match serde_json::from_slice(&request.body) {
            Ok(behaviour) => state.set(behaviour),
            Err(error) => return Reply::json(400, &json!({ "error": error.to_string() })),
        },
        _ => return Reply::json(405, &json!({ "error": "use GET, POST or DELETE" })),
    }
    Reply::json(200, &json!({ "counts": state.counts(), "behaviour": state.behaviour() }))
}
