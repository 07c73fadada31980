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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Config;
use crate::fetch::{Fetcher, Rules};
use crate::generation::{ImageFormat, ImageSize, ModelKey, ProviderId, SourceImage};
use crate::providers::scripted::encoded;
use crate::providers::{BuildError, Call, Environment, Kind, Provider};

/// The key that no answer, error or log line may show.
const KEY: &str = "sk-canary-0000";

fn environment(default_model: Option<&str>) -> Environment {
    Environment {
        default_model: default_model.map(str::to_owned),
        library_roots: Vec::new(),
        hub_cache: None,
        executable_dirs: Vec::new(),
        data_dir: std::path::PathBuf::new(),
        fetcher: Arc::new(Fetcher::new(Rules::for_tests(&[]))),
    }
}

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

/// An upstream that answers one request with exactly these bytes and tells what it was sent.
async fn replay(answer: Vec<u8>) -> (String, JoinHandle<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "the test awaits it or ends its runtime")]
    let asked = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut chunk = [0; 4096];
            let read = connection.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the request was cut off");
            request.extend_from_slice(&chunk[..read]);
        }
        connection.write_all(&answer).await.unwrap();
        connection.shutdown().await.unwrap();
        Sent::read(&request)
    });
    (base_url, asked)
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

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// An answer in HTTP/1.1.
fn answer(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        head = format!("{head}{header}\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}
