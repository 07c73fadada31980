//! A request in the words of another Easel, which are ours.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::generation::{
    CacheWish, Defaults, GenerationRequest, ImageFormat, OnDisconnect, Seed, SizeWish, SourceImage,
};
use crate::providers::{Error, ErrorKind, upstream};

/// The longest time that can be asked for.
const MOST_MILLISECONDS: u64 = 3_600_000;

/// One model of another Easel.
#[derive(Debug, Clone)]
pub(in super::super) struct EaselModel {
    /// Its key, `provider/key` or alias there; `None`: the other Easel chooses.
    pub id: Option<String>,
    /// Whether the other Easel may fall back; `None`: it decides.
    pub fallback: Option<Fallback>,
    /// Fields that are always sent.
    pub parameters: Map<String, Value>,
    /// What is sent where the request says nothing.
    pub defaults: Defaults,
}

/// What the other Easel does when its first choice fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Fallback {
    Auto,
    Never,
}

impl EaselModel {
    /// The body for `request`, which is to be done within `remaining`.
    pub(super) async fn body(
        &self,
        request: &GenerationRequest,
        remaining: Duration,
    ) -> Result<Map<String, Value>, Error> {
        let mut body = self.parameters.clone();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                body.insert(name.to_owned(), value);
            }
        };
        let defaults = &self.defaults;
        put("prompt", json!(request.prompt));
        put("negative_prompt", json!(request.negative_prompt.as_ref().or(defaults.negative_prompt.as_ref())));
        put("model", json!(self.id));
        put(
            "fallback",
            match self.fallback {
                Some(Fallback::Auto) => json!("auto"),
                Some(Fallback::Never) => json!("never"),
                None => Value::Null,
            },
        );
        put("n", json!(request.count));
        match request.size {
            SizeWish::Exact(size) => put("size", json!(size.to_string())),
            SizeWish::Aspect(ratio) => put("aspect_ratio", json!(ratio.to_string())),
            SizeWish::ModelDefault => put("size", json!(defaults.size.map(|size| size.to_string()))),
        }
        put("seed", json!(request.seed.map(Seed::get)));
        put("steps", json!(request.steps.map(NonZeroU32::get).or(defaults.steps)));
        put("guidance_scale", json!(request.guidance_scale.or(defaults.guidance_scale)));
        put("scheduler", json!(request.scheduler.as_ref().or(defaults.scheduler.as_ref())));
        put("strength", json!(request.strength));
        if request.strict {
            put("strict", json!(true));
        }
        if !request.loras.is_empty() {
            let loras = request.loras.iter().map(|lora| json!({ "name": lora.name, "weight": lora.weight }));
            put("loras", loras.collect());
        }
        let format = request.output_format.map(|format| match format {
            ImageFormat::Png => "png",
            ImageFormat::Jpeg => "jpeg",
            ImageFormat::Webp => "webp",
        });
        put("output_format", json!(format));
        put("output_quality", json!(request.output_quality));
        match request.cache {
            CacheWish::Auto => {}
            CacheWish::Any => put("cache", json!("any")),
            CacheWish::Never => put("cache", json!("never")),
        }
        put(
            "on_disconnect",
            match request.on_disconnect {
                Some(OnDisconnect::Cancel) => json!("cancel"),
                Some(OnDisconnect::Finish) => json!("finish"),
                None => Value::Null,
            },
        );
        let milliseconds = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX).clamp(1, MOST_MILLISECONDS);
        put("timeout_ms", json!(milliseconds));
        if request.image.is_some() || !request.reference_images.is_empty() {
            let (image, mask, references) = texts(request).await?;
            put("image", json!(image));
            put("mask", json!(mask));
            if !references.is_empty() {
                put("reference_images", json!(references));
            }
        }
        Ok(body)
    }
}

type Texts = (Option<String>, Option<String>, Vec<String>);

/// The pictures as text, written away from the threads that serve everybody else.
async fn texts(request: &GenerationRequest) -> Result<Texts, Error> {
    let (image, mask, references) = (request.image.clone(), request.mask.clone(), request.reference_images.clone());
    let uri = |source: &SourceImage| upstream::to_data_uri(source);
    let write = move || (image.as_ref().map(uri), mask.as_ref().map(uri), references.iter().map(uri).collect());
    tokio::task::spawn_blocking(write)
        .await
        .map_err(|broken| Error::new(ErrorKind::Internal, "writing the pictures as text broke off").with_source(broken))
}
