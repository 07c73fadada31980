//! The kind against recorded answers, against the stand-in's faults, and against wrong configurations.

mod answers;
mod configuration;
mod faults;
mod requests;

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

/// A variable that cargo sets for every test, so that no test needs to write the environment; it holds `easel`.
const KEY_VARIABLE: &str = "CARGO_PKG_NAME";

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
    let key = json!({ "env": KEY_VARIABLE });
    build(json!({ "base_url": base_url, "api_key": key, "models": { "m": model } })).unwrap()
}

fn call() -> Call {
    Call::new(ModelKey::new("m"), Instant::now() + Duration::from_secs(30), "request-7")
}

fn source(side: u32, format: ImageFormat) -> SourceImage {
    let square = ImageSize::new(side, side).unwrap();
    SourceImage { bytes: encoded(square, format), format, size: square }
}

/// An upstream that answers one request with exactly these bytes and tells what it was sent.
async fn replay(answer: Vec<u8>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1beta", listener.local_addr().unwrap());
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
        String::from_utf8(request).unwrap()
    });
    (base_url, asked)
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
