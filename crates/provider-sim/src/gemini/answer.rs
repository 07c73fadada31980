//! Answers: `GenerateContentResponse` as one document, or in chunks.

use serde_json::{Value, json};

use super::asked::Asked;
use super::error::VendorError;
use super::refusal;
use crate::json::put;
use crate::pictures::{self, Item};
use crate::state::State;
use crate::{Behaviour, Fault};

/// What thinking costs.
const THOUGHT_TOKENS: u32 = 210;

/// The answer as one document.
pub(super) fn whole(asked: &Asked, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> String {
    if let Some(members) = without_picture(asked, fault) {
        return with_rest(&members, asked, 0);
    }
    let parts = parts(asked, behaviour, fault, state);
    // Written by hand: a tree of JSON values would copy megabytes of base64 twice.
    let candidate =
        format!(r#"{{"content":{{"role":"model","parts":[{}]}},"finishReason":"STOP","index":0}}"#, parts.join(","));
    let rest = rest(asked, u32::from(asked.wants_image));
    format!(r#"{{"candidates":[{candidate}],{}"#, rest.trim_start_matches('{'))
}

/// The answer in chunks: words, then the picture whole, then the end.
pub(super) fn chunks(asked: &Asked, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Vec<String> {
    let chunk =
        |part: &str| format!(r#"{{"candidates":[{{"content":{{"role":"model","parts":[{part}]}},"index":0}}]}}"#);
    if let Some(members) = without_picture(asked, fault) {
        return vec![with_rest(&members, asked, 0)];
    }
    let words = chunk(r#"{"text":"Here it is. "}"#);
    if fault == Some(Fault::ErrorIn200) {
        return vec![words, VendorError::of_status(500).body(0).to_string()];
    }
    let mut chunks: Vec<String> = asked.wants_text.then_some(words).into_iter().collect();
    chunks.extend(pictures_of(asked, behaviour, fault, state).iter().map(|part| chunk(part)));
    let end = json!({ "candidates": [{ "finishReason": "STOP", "index": 0 }] });
    chunks.push(with_rest(&end, asked, u32::from(asked.wants_image)));
    chunks
}

fn without_picture(asked: &Asked, fault: Option<Fault>) -> Option<Value> {
    match fault {
        Some(Fault::NoPicture(form)) => Some(refusal::no_picture(form)),
        Some(Fault::EmptyData) => Some(json!({ "candidates": [] })),
        // Of one picture, one fewer is none.
        Some(Fault::FewerPictures | Fault::PartlyFailed) => Some(refusal::no_picture(0)),
        None | Some(_) if !asked.wants_image => Some(json!({
            "candidates": [{
                "content": { "role": "model", "parts": [{ "text": "Words were asked for." }] }, "finishReason": "STOP",
                "index": 0,
            }],
        })),
        fault => fault.and_then(Fault::refusal).map(refusal::refused),
    }
}

fn parts(asked: &Asked, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Vec<String> {
    let mut parts = Vec::new();
    if asked.wants_thoughts || behaviour.shape > 1 {
        // A draft, which is not the answer: another picture than the one that follows.
        let mut draft = asked.wish.clone();
        draft.subject += " draft";
        let item = pictures::item(&draft, behaviour, None, state, 0);
        parts.push(part(asked, &item, behaviour.shape, r#""thought":true,"#));
    }
    if asked.wants_text {
        parts.push(json!({ "text": "Here it is." }).to_string());
    }
    parts.extend(pictures_of(asked, behaviour, fault, state));
    parts
}

fn pictures_of(asked: &Asked, behaviour: &Behaviour, fault: Option<Fault>, state: &State) -> Vec<String> {
    let items = pictures::make(&asked.wish, behaviour, fault, state);
    items.iter().map(|item| part(asked, item, behaviour.shape, "")).collect()
}

/// A part with a picture. Shape 1 is written in snake case, as some proxies do.
fn part(asked: &Asked, item: &Item, shape: u8, before: &str) -> String {
    let signature = if shape > 1 && before.is_empty() { r#","thoughtSignature":"c2lnbmF0dXJl""# } else { "" };
    let mime = asked.wish.format.mime();
    let (inline, kind) = if shape == 1 { ("inline_data", "mime_type") } else { ("inlineData", "mimeType") };
    match item {
        Item::Base64(text) => format!(r#"{{{before}"{inline}":{{"{kind}":"{mime}","data":"{text}"}}{signature}}}"#),
        Item::Address(url) => {
            let url = Value::from(url.as_str());
            format!(r#"{{{before}"fileData":{{"mimeType":"{mime}","fileUri":{url}}}{signature}}}"#)
        }
        Item::Nothing => format!(r#"{{{before}"inlineData":{{"mimeType":"{mime}"}}}}"#),
    }
}

/// The members that every answer has, as an object.
fn rest(asked: &Asked, pictures: u32) -> String {
    let prompt = asked.text_tokens + asked.image_tokens;
    let output = asked.output_tokens * pictures;
    let thoughts = if asked.model.is_first || pictures == 0 { 0 } else { THOUGHT_TOKENS };
    let mut details = vec![json!({ "modality": "TEXT", "tokenCount": asked.text_tokens })];
    if asked.image_tokens > 0 {
        details.push(json!({ "modality": "IMAGE", "tokenCount": asked.image_tokens }));
    }
    let mut usage = json!({
        "promptTokenCount": prompt, "totalTokenCount": prompt + (output + thoughts) as usize,
        "promptTokensDetails": details,
    });
    if pictures > 0 {
        put(&mut usage, "candidatesTokenCount", output);
        put(&mut usage, "candidatesTokensDetails", json!([{ "modality": "IMAGE", "tokenCount": output }]));
    }
    if thoughts > 0 {
        put(&mut usage, "thoughtsTokenCount", thoughts);
    }
    json!({ "usageMetadata": usage, "modelVersion": asked.model.id, "responseId": "resp-stand-in" }).to_string()
}

fn with_rest(members: &Value, asked: &Asked, pictures: u32) -> String {
    let members = members.to_string();
    let inner = members.trim_start_matches('{').trim_end_matches('}');
    // An answer without any member stays without.
    if inner.is_empty() {
        return "{}".to_owned();
    }
    let body = members.strip_suffix('}').unwrap_or(&members);
    format!("{body},{}", rest(asked, pictures).trim_start_matches('{'))
}
