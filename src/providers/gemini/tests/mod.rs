//! The kind against recorded answers, against the stand-in's faults, and against wrong configurations.

mod answers;
mod configuration;
mod faults;
mod requests;

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

/// A variable that cargo sets for every test, so that no test needs to write the environment; it holds `easel`.
const KEY_VARIABLE: &str = "CARGO_PKG_NAME";

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
    replay::replay("/v1beta", answer, |request| String::from_utf8(request.to_vec()).unwrap()).await
}
