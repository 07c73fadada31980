//! What a 200 holds: a picture, a refusal, or only words.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::error;
use crate::generation::{Generation, Seed, Usage};
use crate::providers::upstream::{self, Lifted, Noted, Text};
use crate::providers::{Error, ErrorKind};

/// The picture in the body of a 200; anything else in it is an error.
pub(super) async fn read(body: Vec<u8>, seed: Option<Seed>) -> Result<Generation, Error> {
    upstream::decode(body, move |body| decode(body, seed)).await
}

/// A 200. Everything is optional: what is not needed may be missing or new.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(default)]
    prompt_feedback: Option<PromptFeedback>,
    #[serde(default)]
    usage_metadata: Option<Value>,
    /// What breaks off the work after the status was sent.
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    #[serde(default)]
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    /// Drafts and reasoning on the way to the picture.
    #[serde(default)]
    thought: Option<bool>,
    // Proxies in front of the service spell it the other way.
    #[serde(borrow, default, alias = "inline_data")]
    inline_data: Option<Blob<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    #[serde(borrow, default, alias = "mime_type")]
    mime_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
}

fn decode(body: &Bytes, seed: Option<Seed>) -> Result<Generation, Error> {
    let lifted = Lifted::new(body);
    let answer: Answer<'_> = upstream::parse(&lifted)?;
    if let Some(error) = answer.error.filter(|error| !error.is_null()) {
        return Err(error::of_success(&error));
    }
    let block = answer.prompt_feedback.and_then(|feedback| feedback.block_reason);
    if let Some(reason) = block.filter(|reason| is_said(reason)) {
        return Err(refused("block reason", &reason));
    }
    let candidates = answer.candidates.unwrap_or_default();
    let reasons = || candidates.iter().filter_map(|candidate| candidate.finish_reason.as_deref());
    let data = candidates.iter().flat_map(Candidate::pictures).collect::<Vec<_>>();
    // One was asked for; of several that are no drafts, the first is as good as any.
    let Some(first) = data.first() else {
        return Err(match reasons().find(|reason| is_refusal(reason)) {
            Some(reason) => refused("finish reason", reason),
            None => no_image(reasons().next()),
        });
    };
    let image = upstream::from_base64(0, &lifted.shared(&first.0), seed)?;
    let usage = answer.usage_metadata.as_ref().and_then(usage);
    Ok(Generation { images: vec![image], usage, ..Generation::default() })
}

impl<'a> Candidate<'a> {
    /// The pictures that are meant for the caller.
    fn pictures(&self) -> impl Iterator<Item = &Text<'a>> {
        let refused = self.finish_reason.as_deref().is_some_and(is_refusal);
        let parts = self.content.iter().filter_map(|content| content.parts.as_deref()).flatten();
        parts.filter(move |part| !refused && part.thought != Some(true)).filter_map(Part::picture)
    }
}

impl<'a> Part<'a> {
    fn picture(&self) -> Option<&Text<'a>> {
        let blob = self.inline_data.as_ref()?;
        let is_picture = blob.mime_type.as_ref().is_none_or(|kind| kind.0.starts_with("image/"));
        blob.data.as_ref().filter(|data| is_picture && !data.0.is_empty())
    }
}

/// Whether an enum's value says anything.
fn is_said(reason: &str) -> bool {
    !reason.is_empty() && !reason.ends_with("_UNSPECIFIED")
}

/// Whether a finish reason means that the prompt or the picture was refused. New ones are known by their words.
/// <https://ai.google.dev/api/generate-content#FinishReason>
fn is_refusal(reason: &str) -> bool {
    const WORDS: [&str; 5] = ["SAFETY", "PROHIBITED", "BLOCKLIST", "SPII", "RECITATION"];
    const WHOLE: [&str; 4] = ["MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED", "JAILBREAK"];
    WORDS.iter().any(|word| reason.contains(word)) || WHOLE.contains(&reason)
}

fn refused(what: &str, reason: &str) -> Error {
    let kind = ErrorKind::ContentRejected;
    let error = Error::new(kind, upstream::sentence(kind, None)).with_source(noted(what, reason));
    match upstream::hint(kind) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn no_image(reason: Option<&str>) -> Error {
    let kind = ErrorKind::NoImage;
    Error::new(kind, upstream::sentence(kind, None)).with_source(noted("finish reason", reason.unwrap_or("none")))
}

fn noted(what: &str, reason: &str) -> Noted {
    let word = upstream::plain_word(reason, None);
    Noted::new(format!("status 200, {what} {}", word.as_deref().unwrap_or("unreadable")))
}

/// `usageMetadata`, if it counts anything. What is not told apart by modality is text where it was read, and the picture
/// where it was made; thoughts are text.
fn usage(metadata: &Value) -> Option<Usage> {
    let count = |name: &str| metadata.get(name).and_then(Value::as_u64);
    let pictures = |name: &str| {
        let details = metadata.get(name)?.as_array()?;
        let is_picture = |detail: &&Value| detail.get("modality").and_then(Value::as_str) == Some("IMAGE");
        let counts = details.iter().filter(is_picture).filter_map(|detail| detail.get("tokenCount")?.as_u64());
        Some(counts.fold(0_u64, u64::saturating_add))
    };
    let (read, made) = (count("promptTokenCount"), count("candidatesTokenCount"));
    if read.is_none() && made.is_none() {
        return None;
    }
    let (read, made) = (read.unwrap_or(0), made.unwrap_or(0));
    let read_images = pictures("promptTokensDetails").unwrap_or(0).min(read);
    let made_images = pictures("candidatesTokensDetails").unwrap_or(made).min(made);
    let more = |name: &str| count(name).unwrap_or(0);
    Some(Usage {
        input_text: (read - read_images).saturating_add(more("toolUsePromptTokenCount")),
        input_image: read_images,
        output_image: made_images,
        output_text: (made - made_images).saturating_add(more("thoughtsTokenCount")),
    })
}
