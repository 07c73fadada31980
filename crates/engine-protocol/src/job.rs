//! What the gateway asks of the engine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::source::{Dtype, ModelSource, PipelineKind};

/// Pictures from one model: from a text, from a picture, or in place of a part of one.
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
    /// Classifier-free guidance; it is computed only above 1. FLUX.1 dev is told of it instead.
    pub guidance_scale: f64,
    /// Width in pixels, a multiple of 8.
    pub width: u32,
    /// Height in pixels, a multiple of 8.
    pub height: u32,
    /// Keys that replace those of the model's own `scheduler_config.json`, as spelled there; `_class_name` picks another scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Map<String, Value>>,
    /// A picture to begin from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<InputImage>,
    /// Where `image` is repainted: white is, black stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<InputImage>,
    /// How far the picture may go from `image`: 0 not at all, 1 everywhere. Absent, the pipeline's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Repaints only a crop around the mask, this many pixels wider on each side, in full resolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_padding: Option<u32>,
    /// Adapters in the order in which they are applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<Lora>,
    /// What is done beside the plain recipe.
    #[serde(default, skip_serializing_if = "Options::is_default")]
    pub options: Options,
    /// Compute type; absent, the engine chooses by device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// `cpu` or `cuda:N`; absent, the engine's default device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl GenerateJob {
    /// One step from a text to a picture of 512x512 with seed 0; a start for those who set the rest.
    pub fn new(model: ModelSource, prompt: impl Into<String>) -> Self {
        Self {
            model,
            prompt: prompt.into(),
            negative_prompt: None,
            seeds: vec![0],
            steps: 1,
            guidance_scale: 1.0,
            width: 512,
            height: 512,
            scheduler: None,
            image: None,
            mask: None,
            strength: None,
            mask_padding: None,
            loras: Vec::new(),
            options: Options::default(),
            dtype: None,
            device: None,
        }
    }
}

/// A picture that comes with a job: a PNG, JPEG or WebP file in base64 (RFC 4648, padded).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputImage(pub String);

/// Megabytes of base64 help nobody in a log.
impl std::fmt::Debug for InputImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InputImage({} bytes of base64)", self.0.len())
    }
}

/// A low-rank adapter and how much of it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Its file.
    pub path: std::path::PathBuf,
    /// How much of it, 1 being as it was trained.
    pub weight: f64,
    /// How much of it in the text encoders; absent, the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder_weight: Option<f64>,
}

/// What is done beside the plain recipe. All off is what diffusers does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Layers left out at the end of the CLIP text encoders, as diffusers counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<u32>,
    /// How far a guided prediction is brought back to the spread of the unguided one (arXiv:2305.08891, 3.4), 0 to 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub guidance_rescale: f64,
    /// How far FLUX is pulled away from the negative prompt, which it computes only above 1: each step then costs twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub true_cfg_scale: Option<f64>,
    /// How many tokens of a prompt FLUX's T5 reads, up to 512; absent, 512 for dev and 256 for schnell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sequence_length: Option<u32>,
    /// Prompts longer than the text encoder reads are encoded in several parts instead of being cut off.
    pub long_prompts: bool,
    /// `(word:1.2)` and its kin weigh words instead of being read as they stand.
    pub prompt_weights: bool,
    /// An adapter with a layer that the model does not have is refused instead of being applied as far as it goes.
    pub strict_loras: bool,
    /// A small picture of what is being made after every so many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_every: Option<u32>,
}

impl Options {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The first option that is asked for and that this pipeline does not have.
    pub fn foreign_to(&self, pipeline: PipelineKind) -> Option<&'static str> {
        let Self {
            clip_skip,
            guidance_rescale,
            true_cfg_scale,
            max_sequence_length,
            long_prompts,
            prompt_weights,
            strict_loras: _,
            preview_every: _,
        } = self;
        let foreign: &[(&'static str, bool)] = match pipeline {
            PipelineKind::Sdxl | PipelineKind::Sd => {
                &[("true_cfg_scale", true_cfg_scale.is_some()), ("max_sequence_length", max_sequence_length.is_some())]
            }
            PipelineKind::Flux => &[
                ("clip_skip", clip_skip.is_some()),
                ("guidance_rescale", *guidance_rescale != 0.0),
                ("long_prompts", *long_prompts),
                ("prompt_weights", *prompt_weights),
            ],
        };
        foreign.iter().find_map(|(option, asked)| asked.then_some(*option))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}
