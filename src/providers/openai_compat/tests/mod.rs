//! The kind against recorded answers, against the stand-in's faults, and against wrong configurations.

mod answers;
mod configuration;
mod dialects;
mod easel;
mod edits;
mod errors;
mod faults;
mod requests;
mod stand_ins;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Config;
use crate::generation::{ImageFormat, ImageSize, ModelKey, ProviderId, SourceImage};
use crate::providers::replay::{self, answer, environment};
use crate::providers::scripted::encoded;
use crate::providers::{BuildError, Call, Kind, Provider};

/// The key that no answer, error or log line may show.
const KEY: &str = "sk-canary-0000";

fn build(config: Value) -> Result<Arc<dyn Provider>, BuildError> {
    Kind::of::<Config>().build(&ProviderId::new("p"), config, &environment(None)).map(|built| built.first)
}

/// A provider with one model `m` whose section says `model`.
fn provider(base_url: &str, model: &Value) -> Arc<dyn Provider> {
    speaking("openai", base_url, model)
}

/// The same in this dialect.
fn speaking(dialect: &str, base_url: &str, model: &Value) -> Arc<dyn Provider> {
    build(json!({ "base_url": base_url, "dialect": dialect, "models": { "m": model } })).unwrap()
}

fn call() -> Call {
    Call::new(ModelKey::new("m"), Instant::now() + Duration::from_secs(30), "request-7")
}

/// What an upstream was sent.
struct Sent {
    head: String,
    body: Vec<u8>,
}

/// A part of a form.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    /// The name and the media type of a file.
    file: Option<(String, String)>,
    content: Vec<u8>,
}

impl Sent {
    fn read(request: &[u8]) -> Self {
        let end = request.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        Self { head: String::from_utf8(request[..end].to_vec()).unwrap(), body: request[end + 4..].to_vec() }
    }

    fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The parts of a form, read as strictly as any server does.
    fn parts(&self) -> Vec<Part> {
        let kind = self.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let between = format!("\r\n--{boundary}");
        let mut body = b"\r\n".to_vec();
        body.extend_from_slice(&self.body);
        let mut parts = Vec::new();
        let find = |body: &[u8]| body.windows(between.len()).position(|part| part == between.as_bytes());
        let mut rest = &body[find(&body).unwrap() + between.len()..];
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let end = find(part).unwrap();
            parts.push(Part::read(&part[..end]));
            rest = &part[end + between.len()..];
        }
        assert_eq!(rest, b"--\r\n");
        parts
    }

    /// The plain fields of a form, and its files by their field.
    fn form(&self) -> (Value, Vec<Part>) {
        let (files, plain): (Vec<_>, Vec<_>) = self.parts().into_iter().partition(|part| part.file.is_some());
        let text = |part: Part| (part.name, Value::from(String::from_utf8(part.content).unwrap()));
        (Value::Object(plain.into_iter().map(text).collect()), files)
    }
}

impl Part {
    fn read(part: &[u8]) -> Self {
        let Sent { head, body } = Sent::read(part);
        let value = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let header =
            |name: &str| head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned));
        let disposition =
            head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition")).unwrap();
        let name = value(disposition, "; name").unwrap();
        let file = value(disposition, "; filename").map(|file| (file, header("content-type: ").unwrap()));
        Self { name, file, content: body }
    }
}

/// A picture to be sent.
fn source(width: u32, height: u32, format: ImageFormat) -> SourceImage {
    let size = ImageSize::new(width, height).unwrap();
    SourceImage { bytes: encoded(size, format), format, size }
}

/// An upstream that answers one request with exactly these bytes and tells what it was sent.
async fn replay(answer: Vec<u8>) -> (String, JoinHandle<Sent>) {
    replay::replay("/v1", answer, Sent::read).await
}
