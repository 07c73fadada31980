//! How a refused prompt or picture is told from other failures, in all the forms that are known. Sentences are looked
//! at here and repeated nowhere.

use serde_json::Value;

/// Codes and types that mean a refusal and nothing else.
const CODES: &[&str] = &[
    "moderation_blocked",
    "content_policy_violation",
    "content_filter",
    "contentfilter",
    "content_filtered",
    "content_moderation",
    "content_rejected",
    "responsibleaipolicyviolation",
    "safety_violation",
    "safety_violations",
    "nsfw_content",
    "nsfw_content_detected",
];

/// Parts of sentences that mean a refusal, where the status allows one.
const PHRASES: &[&str] = &[
    "safety system",
    "safety_violations",
    "content policy",
    "content_policy",
    "content management policy",
    "content moderation",
    "content filter",
    "usage policies",
    "responsible ai",
    "was flagged",
    "nsfw",
];

/// Whether a code or type alone means a refusal.
pub(super) fn is_code(word: &str) -> bool {
    CODES.contains(&word.to_ascii_lowercase().as_str())
}

/// Whether the reason why a picture ended is a filter.
pub(super) fn is_filter_word(word: &str) -> bool {
    is_code(word) || matches!(word.to_ascii_lowercase().as_str(), "safety" | "nsfw" | "image_safety")
}

/// Whether an error's body says in some way that the prompt or a picture was refused.
pub(super) fn is_told(error: &Value) -> bool {
    let has = |name: &str| error.get(name).is_some_and(|value| !value.is_null());
    let reasons = error.get("metadata").and_then(|metadata| metadata.get("reasons")).and_then(Value::as_array);
    let inner = ["inner_error", "innererror"].into_iter().find_map(|name| error.get(name)?.get("code")?.as_str());
    has("moderation_details")
        || reasons.is_some_and(|reasons| !reasons.is_empty())
        || inner.is_some_and(is_code)
        || is_filtered(error.get("content_filter_results"))
}

/// Whether an error's sentence, in lower case, says so.
pub(super) fn is_said(sentence: &str) -> bool {
    PHRASES.iter().any(|phrase| sentence.contains(phrase))
}

/// Whether `respect_moderation` says that a picture does not.
pub(super) fn is_flagged(respect_moderation: Option<&Value>) -> bool {
    respect_moderation.and_then(Value::as_bool) == Some(false)
}

/// Whether any filter of `{"violence": {"filtered": true, …}, …}`, however deep, held something back.
pub(super) fn is_filtered(results: Option<&Value>) -> bool {
    fn any(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                fields.get("filtered").and_then(Value::as_bool) == Some(true) || fields.values().any(any)
            }
            Value::Array(items) => items.iter().any(any),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    results.is_some_and(any)
}
