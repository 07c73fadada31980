//! Members of a request: which ones are known, in camel case or in snake case.

use serde_json::{Map, Value};

use super::error::VendorError;

/// Of the request, in camel case.
pub(super) const TOP: &[&str] = &[
    "contents",
    "systemInstruction",
    "generationConfig",
    "safetySettings",
    "tools",
    "toolConfig",
    "cachedContent",
    "model",
    "labels",
    "serviceTier",
    "store",
];
/// Of `generationConfig`.
pub(super) const CONFIG: &[&str] = &[
    "responseModalities",
    "imageConfig",
    "temperature",
    "topP",
    "topK",
    "seed",
    "maxOutputTokens",
    "candidateCount",
    "thinkingConfig",
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "presencePenalty",
    "frequencyPenalty",
    "mediaResolution",
];
/// Of `imageConfig`.
pub(super) const IMAGE: &[&str] = &["aspectRatio", "imageSize"];
/// Of a part.
pub(super) const PART: &[&str] = &["text", "inlineData", "fileData", "thought", "thoughtSignature"];

/// An object of which every member is known, in either case.
pub(super) fn object<'a>(value: &'a Value, place: &str, known: &[&str]) -> Result<&'a Map<String, Value>, VendorError> {
    let object = value.as_object().ok_or_else(|| VendorError::invalid(format!("Invalid value at '{place}'.")))?;
    match object.keys().find(|name| !known.contains(&camel(name).as_str())) {
        Some(name) => Err(VendorError::unknown_name(name, place)),
        None => Ok(object),
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |joined, word| {
        let mut letters = word.chars();
        joined + &letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    })
}

/// The member of either name.
pub(super) fn member<'a>(object: &'a Map<String, Value>, camel: &str, snake: &str) -> Option<&'a Value> {
    object.get(camel).or_else(|| object.get(snake))
}
