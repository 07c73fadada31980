//! Which model a job means: where its files lie, how it is driven and in which numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a model lies and how it is driven.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSource {
    /// A folder in diffusers layout, or a single file.
    pub path: PathBuf,
    /// Which pipeline drives it.
    pub pipeline: PipelineKind,
    /// A whole model that supplies what `path` lacks: the text encoders of a file that is only a UNet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Files or folders for single components, by their names in diffusers (`vae`, `text_encoder_2`); they go before
    /// those of `path` and `base`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, PathBuf>,
}

impl ModelSource {
    /// A model that is whole at one place.
    pub fn whole(path: impl Into<PathBuf>, pipeline: PipelineKind) -> Self {
        Self { path: path.into(), pipeline, base: None, parts: BTreeMap::new() }
    }
}

/// The pipelines of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineKind {
    /// Stable Diffusion XL: two text encoders, `text_time` conditioning.
    Sdxl,
    /// Stable Diffusion 1 and 2: one CLIP text encoder.
    Sd,
    /// FLUX.1: CLIP and T5, a transformer instead of a UNet.
    Flux,
}

impl std::fmt::Display for PipelineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sdxl => "sdxl",
            Self::Sd => "sd",
            Self::Flux => "flux",
        })
    }
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
