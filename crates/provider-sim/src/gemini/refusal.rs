//! Answers on 200 that hold no picture: refusals, and what else the model may say.

use serde_json::{Value, json};

use crate::json::put;

/// Reasons for which the prompt is refused: there are no candidates.
const BLOCKED: [&str; 7] =
    ["PROHIBITED_CONTENT", "SAFETY", "BLOCKLIST", "IMAGE_SAFETY", "OTHER", "MODEL_ARMOR", "JAILBREAK"];

/// Reasons for which the picture is refused: there is a candidate without content.
const FINISHED: [&str; 11] = [
    "IMAGE_SAFETY",
    "SAFETY",
    "PROHIBITED_CONTENT",
    "IMAGE_PROHIBITED_CONTENT",
    "RECITATION",
    "IMAGE_RECITATION",
    "BLOCKLIST",
    "SPII",
    "MODEL_ARMOR",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
];

/// Forms in which a prompt or a picture is refused: first the ways to block a prompt, then the ways to end without a
/// picture.
#[expect(clippy::cast_possible_truncation, reason = "the lists above are short")]
pub(crate) const REFUSALS: u8 = (BLOCKED.len() + FINISHED.len()) as u8;

/// Reasons for which there is no picture and nobody refused one.
const NONE: [&str; 6] =
    ["NO_IMAGE", "IMAGE_OTHER", "MALFORMED_RESPONSE", "OTHER", "MAX_TOKENS", "A_REASON_OF_TOMORROW"];

/// Forms in which there is no picture: a reason each, words instead, a thought alone, no candidates, nothing at all.
#[expect(clippy::cast_possible_truncation, reason = "the lists above are short")]
pub(crate) const NO_PICTURES: u8 = NONE.len() as u8 + 4;

/// The members of the answer that say so.
pub(super) fn refused(form: u8) -> Value {
    let form = usize::from(form % REFUSALS);
    if let Some(reason) = BLOCKED.get(form) {
        return json!({ "promptFeedback": { "blockReason": reason } });
    }
    let reason = FINISHED.get(form - BLOCKED.len()).copied().unwrap_or_default();
    // The content is there without parts, or not there.
    finished(reason, (form % 2 == 0).then(|| json!({ "role": "model" })))
}

/// The members of the answer that say so.
pub(super) fn no_picture(form: u8) -> Value {
    let form = usize::from(form % NO_PICTURES);
    let content = |part: Value| Some(json!({ "role": "model", "parts": [part] }));
    if let Some(reason) = NONE.get(form) {
        return finished(reason, Some(json!({ "role": "model" })));
    }
    match form - NONE.len() {
        0 => finished("STOP", content(json!({ "text": "I can only describe such a picture." }))),
        1 => finished("STOP", content(json!({ "text": "A boat, then.", "thought": true }))),
        2 => json!({ "candidates": [] }),
        _ => json!({}),
    }
}

fn finished(reason: &str, content: Option<Value>) -> Value {
    let mut candidate = json!({ "finishReason": reason, "index": 0 });
    if reason != "STOP" {
        put(&mut candidate, "finishMessage", "The generated image was withheld. Support code: 00000000.");
    }
    if let Some(content) = content {
        put(&mut candidate, "content", content);
    }
    json!({ "candidates": [candidate] })
}
