//! What an answer says about one task. Results and errors stand side by side and are read together, whatever the
//! status; what belongs to other tasks is left alone.
//! <https://runware.ai/docs/platform/introduction>

use bytes::Bytes;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::Failure;
use crate::generation::GeneratedImage;
use crate::providers::upstream::{self, Lifted};
use crate::providers::{Error, ErrorKind};
use crate::secret::Secret;

/// Whose answer is read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// The task that was sent, or that is looked for.
    pub task: Uuid,
    /// Whether it is looked for.
    pub is_look_up: bool,
    /// Nothing of it comes into a note.
    pub key: Secret,
}

/// What an answer says about the task.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Its results, in order.
    pub made: Vec<Made>,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// Whether it is known and not done.
    pub is_running: bool,
    /// Results that hold nothing.
    pub empty: usize,
}

impl Answer {
    /// Whether it says anything about the task, as opposed to about being asked.
    pub(super) fn is_about_task(&self) -> bool {
        !self.made.is_empty()
            || self.is_running
            || self.empty > 0
            || self.failures.iter().any(|failure| !failure.of_look_up)
    }
}

/// One result.
#[derive(Debug)]
pub(super) struct Made {
    /// The vendor's name for it.
    pub id: Option<String>,
    /// The picture, or why it is none.
    pub picture: Result<Picture, Error>,
    /// The seed that was really used, where it is told.
    pub seed: Option<u64>,
    /// What it cost in US dollars.
    pub cost: Option<f64>,
    /// Whether the vendor's check has flagged it.
    pub is_flagged: bool,
}

/// Where a picture is.
#[derive(Debug)]
pub(super) enum Picture {
    /// Here.
    Here(GeneratedImage),
    /// At this address.
    At(String),
}

/// Reads a body.
///
/// # Errors
/// When it is not understood at all.
pub(super) async fn read(body: Vec<u8>, reading: Reading) -> Result<Answer, Error> {
    upstream::decode(body, move |body| decode(body, &reading)).await
}

fn decode(body: &Bytes, reading: &Reading) -> Result<Answer, Error> {
    let lifted = Lifted::new(body);
    let parsed: Value = upstream::parse(&lifted)?;
    let mut answer = Answer::default();
    let understood = parsed.as_object().is_some_and(|envelope| {
        let mut reader = Reader { lifted: &lifted, reading, of_look_up: reading.is_look_up, answer: &mut answer };
        reader.envelope(envelope)
    });
    if understood {
        Ok(answer)
    } else {
        Err(Error::new(ErrorKind::Protocol, "the provider's answer has neither results nor errors"))
    }
}

struct Reader<'a, 'b> {
    lifted: &'a Lifted<'b>,
    reading: &'a Reading,
    /// Whether errors are about the look-up unless they say otherwise.
    of_look_up: bool,
    answer: &'a mut Answer,
}

impl Reader<'_, '_> {
    /// Whether anything in it is understood.
    fn envelope(&mut self, envelope: &Map<String, Value>) -> bool {
        let results = envelope.get("data").filter(|data| !data.is_null());
        let errors = ["errors", "error"].map(|name| envelope.get(name).filter(|errors| !errors.is_null()));
        for item in results.map(one_or_many).unwrap_or_default() {
            self.result(item);
        }
        for error in errors.into_iter().flatten().flat_map(one_or_many) {
            // A single error may leave the task's identity to the envelope.
            if self.is_ours(error.get("taskUUID").or_else(|| envelope.get("taskUUID"))) {
                self.failure(error);
            }
        }
        results.is_some_and(|data| data.is_array() || data.is_object()) || errors.iter().any(Option::is_some)
    }

    /// Whether this names our task, or none: only one was sent.
    fn is_ours(&self, named: Option<&Value>) -> bool {
        let named = named.and_then(Value::as_str);
        named.is_none_or(|id| Uuid::parse_str(id).is_ok_and(|id| id == self.reading.task))
    }

    fn result(&mut self, item: &Value) {
        if !self.is_ours(item.get("taskUUID")) {
            return;
        }
        let status = item.get("status").and_then(Value::as_str);
        let error = item.get("error").filter(|error| !error.is_null());
        if error.is_some() || status == Some("error") {
            self.failure(error.unwrap_or(item));
        } else if let Some(response) = item.get("response").and_then(Value::as_object) {
            // What was answered then is about the task itself, and all that there will ever be.
            let before = (self.answer.made.len(), self.answer.failures.len());
            self.of_look_up = false;
            self.envelope(response);
            self.of_look_up = self.reading.is_look_up;
            if before == (self.answer.made.len(), self.answer.failures.len()) && !self.answer.is_running {
                self.answer.empty += 1;
            }
        } else if let Some(picture) = self.picture(item) {
            let seed = item.get("seed").filter(|seed| seed.is_number());
            // The vendor's go beyond what fits; such a one is told, and is none of ours.
            let seed = seed.map(|seed| seed.as_u64().unwrap_or(u64::MAX));
            let cost = item.get("cost").and_then(Value::as_f64).filter(|cost| cost.is_finite() && *cost >= 0.0);
            let id = item.get("imageUUID").and_then(Value::as_str).map(str::to_owned);
            let is_flagged = item.get("NSFWContent").and_then(Value::as_bool).unwrap_or(false);
            self.answer.made.push(Made { id, picture, seed, cost, is_flagged });
        } else if is_pending(item, status) {
            self.answer.is_running = true;
        } else {
            self.answer.empty += 1;
        }
    }

    /// The picture of a result; `None` where it has none.
    fn picture(&self, item: &Value) -> Option<Result<Picture, Error>> {
        let text = |name: &str| {
            let text = self.lifted.shared(item.get(name)?.as_str()?);
            Some(text.slice_ref(text.trim_ascii())).filter(|text| !text.is_empty())
        };
        if let Some(text) = text("imageBase64Data").or_else(|| text("imageDataURI")) {
            let index = self.answer.made.len();
            return Some(upstream::from_base64(index, &text, None).map(Picture::Here));
        }
        let address = text("imageURL")?;
        Some(Ok(Picture::At(String::from_utf8_lossy(&address).into_owned())))
    }

    fn failure(&mut self, error: &Value) {
        let word = |value: &Value| upstream::plain_word(value.as_str()?, Some(&self.reading.key));
        let parameter = error.get("parameter");
        let parameter = parameter.and_then(|named| one_or_many(named).into_iter().find_map(word));
        let kind = error.get("taskType").and_then(Value::as_str);
        let is_of_task = kind == Some("imageInference") || error.get("status").is_some_and(|status| status == "error");
        self.answer.failures.push(Failure {
            code: error.get("code").and_then(word),
            parameter,
            of_look_up: self.of_look_up && !is_of_task,
        });
    }
}

/// Whether a result without a picture is one that is still to come: it says so, or it is nothing but the task's name,
/// with which a task is acknowledged.
fn is_pending(item: &Value, status: Option<&str>) -> bool {
    let is_bare = item.get("taskUUID").is_some() && item.get("imageUUID").is_none() && item.get("seed").is_none();
    status.map_or(is_bare, |status| status != "success")
}

fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => vec![value],
    }
}
