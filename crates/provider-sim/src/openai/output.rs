//! The answer as one JSON document.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::asked::Asked;
use crate::http::Reply;
use crate::pictures::Item;
use crate::{Behaviour, Fault};

/// Tokens of one picture.
const TOKENS: usize = 1056;

/// The answer with all its pictures.
pub(super) fn whole(asked: &Asked, items: &[Item], behaviour: &Behaviour, fault: Option<Fault>) -> Reply {
    let form = match fault {
        Some(Fault::NoPicture(form)) => Some(form % 3),
        _ => None,
    };
    let created = if behaviour.shape == 0 { created() } else { 0 };
    // Written by hand: a tree of JSON values would copy megabytes of base64 twice.
    let mut body = format!(r#"{{"created":{created}"#);
    match form {
        None => {
            let items: Vec<String> = items.iter().map(|item| one(item, behaviour.shape)).collect();
            let _ = write!(body, r#","data":[{}]"#, items.join(","));
        }
        Some(0) => body.push_str(r#","data":[]"#),
        Some(1) => body.push_str(r#","data":[{"b64_json":null}]"#),
        Some(_) => {}
    }
    if asked.family.reports_usage() {
        let _ = write!(body, ",{},\"usage\":{}", described(asked), usage(asked, items.len()));
    }
    body.push('}');
    Reply::new(200, "application/json", body).with_header("x-request-id", "req_stand_in")
}

fn one(item: &Item, shape: u8) -> String {
    let further = if shape == 0 { "" } else { r#","revised_prompt":null,"index":0,"embedding":null"# };
    match item {
        Item::Base64(text) => format!(r#"{{"b64_json":"{text}"{further}}}"#),
        Item::Address(url) => format!(r#"{{"url":{}{further}}}"#, Value::from(url.as_str())),
        Item::Nothing => "{}".to_owned(),
    }
}

/// What was used, as the members of an object.
pub(super) fn described(asked: &Asked) -> String {
    let (width, height) = asked.wish.size;
    format!(
        r#""background":"{}","output_format":"{}","quality":{},"size":"{width}x{height}""#,
        asked.background,
        asked.wish.format.name(),
        Value::from(asked.quality.as_str()),
    )
}

pub(super) fn usage(asked: &Asked, count: usize) -> Value {
    let input = asked.text_tokens + asked.image_tokens;
    json!({
        "input_tokens": input, "output_tokens": TOKENS * count, "total_tokens": input + TOKENS * count,
        "input_tokens_details": { "text_tokens": asked.text_tokens, "image_tokens": asked.image_tokens },
    })
}

pub(super) fn created() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
