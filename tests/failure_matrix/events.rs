//! Answers that come as events, read as if they had come at once.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::easel::Answer;

/// The answer that the last event is; what comes before it are previews, whose pictures must be pictures. Any other
/// answer as it is.
pub fn at_once(answer: Answer) -> Answer {
    if answer.header("content-type") != "text/event-stream" {
        return answer;
    }
    let text = String::from_utf8(answer.bytes).unwrap();
    let blocks = text.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
    let events: Vec<(&str, Value)> = blocks.map(event).collect();
    let Some(((name, body), previews)) = events.split_last() else { panic!("no event: {text:.300}") };
    assert!(text.ends_with("\n\n") && previews.iter().all(|(name, _)| *name == "partial_image"), "{text:.300}");
    let id = HeaderValue::from_str(body["request_id"].as_str().unwrap_or_default()).unwrap();
    assert_eq!(answer.headers.get("x-request-id"), Some(&id), "{text:.300}");
    let (status, kind) = match *name {
        "completed" => (200, "application/json"),
        "error" => (u16::try_from(body["status"].as_u64().unwrap()).unwrap(), "application/problem+json"),
        other => panic!("an event called {other}"),
    };
    for (_, preview) in previews {
        let shown =
            Answer { status: 200, headers: HeaderMap::new(), bytes: Vec::new(), body: json!({ "images": [preview] }) };
        assert_eq!(shown.pictures().len(), 1);
    }
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (reqwest::header::HeaderName::from_static("x-request-id"), id),
    ]);
    Answer { status, headers, bytes: body.to_string().into(), body: body.clone() }
}

fn event(block: &str) -> (&str, Value) {
    let (name, data) = block.split_once('\n').unwrap();
    let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    (name.strip_prefix("event: ").unwrap(), data)
}
