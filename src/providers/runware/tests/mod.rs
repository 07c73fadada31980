//! The kind against recorded answers, against a vendor that loses them, and against wrong configurations.

mod answers;
mod configuration;
mod fates;
mod faults;
mod requests;
mod vendor;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Config;
use crate::generation::{ImageFormat, ImageSize, ModelKey, ProviderId, SourceImage};
use crate::providers::replay::environment;
use crate::providers::{BuildError, Built, Call, Kind, Provider};

/// The variable whose value is the key: cargo sets it for every test.
const KEY: &str = "CARGO_PKG_NAME";

/// A picture of one pixel in base64.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

fn pixel() -> SourceImage {
    let bytes = Bytes::from(base64_simd::STANDARD.decode_to_vec(PIXEL).unwrap());
    SourceImage { bytes, format: ImageFormat::Png, size: ImageSize::new(1, 1).unwrap() }
}

fn build(config: Value) -> Result<Built, BuildError> {
    Kind::of::<Config>().build(&ProviderId::new("p"), config, &environment(None))
}

/// A section with one model `m` whose keys are `model`, over which `keys` are put.
fn section(base_url: &str, model: &Value, keys: &Value) -> Value {
    let mut section = json!({ "base_url": base_url, "api_key": { "env": KEY }, "models": { "m": model } });
    for (key, value) in keys.as_object().unwrap() {
        section[key] = value.clone();
    }
    section
}

/// A provider with one model `m`, `runware:100@1`, in a section with these further keys.
fn provider(base_url: &str, keys: &Value) -> Arc<dyn Provider> {
    build(section(base_url, &json!({ "air": "runware:100@1" }), keys)).unwrap().first
}

fn call_of(model: &str, limit: Duration) -> Call {
    Call::new(ModelKey::new(model), Instant::now() + limit, "request-7")
}

fn call() -> Call {
    call_of("m", Duration::from_secs(30))
}
