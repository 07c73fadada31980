//! What the gateway asks of the engine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A text-to-image job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateJob {
    /// Which model makes the picture.
    pub model: ModelSource,
    /// What the picture shows.
    pub prompt: String,
    /// What it must not show. Absent and empty differ: absent means zero embeddings where the pipeline says
    /// `force_zeros_for_empty_prompt`, empty is encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// One picture for each seed, in this order.
    pub seeds: Vec<u64>,
    /// Denoising steps, at least 1.
    pub steps: u32,
    /// Classifier-free guidance; it is computed only above 1.
    pub guidance_scale: f64,
    /// Width in pixels, a multiple of 8.
    pub width: u32,
    /// Height in pixels, a multiple of 8.
    pub height: u32,
    /// Keys that replace those of the model's own `scheduler_config.json`, as spelled there; `_class_name` picks another scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Map<String, Value>>,
    /// Compute type; absent, the engine chooses by device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// `cpu` or `cuda:N`; absent, the engine's default device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Where a model lies and how it is driven.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSource {
    /// The folder in diffusers layout.
    pub path: PathBuf,
    /// Which pipeline drives it.
    pub pipeline: PipelineKind,
}

/// The pipelines of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineKind {
    /// Stable Diffusion XL: two text encoders, `text_time` conditioning.
    Sdxl,
}

/// The number type that the networks compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit float.
    Fp32,
    /// bfloat16.
    Bf16,
    /// 16-bit float.
    Fp16,
}
