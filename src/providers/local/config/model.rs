//! `[providers.<id>.config.models.<key>]`: a model that is declared, and what requests may wish for of it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use easel_engine_protocol::{Dtype, Options, PipelineKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::generation::{Defaults, ImageSize, Installed, Model, ModelKey, Support, Supports};
use crate::providers::BuildError;
use crate::providers::declared::{DeclaredLimits, DeclaredSize};
use crate::providers::local::job::LocalModel;
use crate::providers::local::library::{Found, Here};

/// What diffusion models have in common: a side is a multiple of what the VAE makes of one latent.
const SIZE_MULTIPLE: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");
/// FLUX looks at two latents a side at once.
const FLUX_MULTIPLE: NonZeroU32 = NonZeroU32::new(16).expect("16 is not 0");
/// Longest side where a model declares none: beyond it no model of today makes sense and memory is the next obstacle.
const MAX_SIDE: u32 = 4096;

/// `[providers.<id>.config.models.<key>]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Its name for people; absent, the key.
    name: Option<String>,
    /// Other names that requests may use.
    #[serde(default)]
    aliases: Vec<String>,
    /// Which pipeline drives it: `sdxl`, `sd` (Stable Diffusion 1 and 2) or `flux`.
    pub pipeline: PipelineKind,
    /// Where it lies: `file:path` under a library root, or `hf:org/name[/file]`. A folder in diffusers layout, or a
    /// single file.
    pub source: String,
    /// A whole model that supplies what `source` lacks.
    pub base: Option<String>,
    /// Where single components lie, by their names in diffusers, such as `vae`; they go before those of `source`.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
    /// Steps when none are asked for.
    #[serde(default = "default_steps")]
    steps: NonZeroU32,
    /// Guidance when none is asked for.
    #[serde(default = "default_guidance_scale")]
    guidance_scale: f64,
    /// The negative prompt when none is given.
    negative_prompt: Option<String>,
    /// Keys that replace those of the model's own `scheduler_config.json`, as spelled there.
    scheduler: Option<Map<String, Value>>,
    /// How far a picture goes from a given one when nothing is asked for; absent, the pipeline's own.
    strength: Option<f64>,
    /// What is done beside the plain recipe.
    #[serde(default)]
    options: Options,
    /// Whether it understands a negative prompt.
    #[serde(default = "yes")]
    supports_negative_prompt: bool,
    /// The size when none is asked for; absent: the model's own.
    size: Option<DeclaredSize>,
    /// How far it goes.
    #[serde(default)]
    limits: DeclaredLimits,
}

impl ModelConfig {
    /// What is told about it.
    pub fn model(&self, key: &str, found: &Found, at: &str) -> Result<Model, BuildError> {
        let mut limits = self.limits.limits(&format!("{at}.limits"))?;
        if limits.size_multiple.is_some_and(|multiple| multiple.get() % SIZE_MULTIPLE.get() != 0) {
            return Err(BuildError::config(format!("{at}.limits.size_multiple"), "this must be a multiple of 8"));
        }
        let own_multiple = if self.pipeline == PipelineKind::Flux { FLUX_MULTIPLE } else { SIZE_MULTIPLE };
        limits.size_multiple.get_or_insert(own_multiple);
        limits.max_side.get_or_insert(MAX_SIDE);
        if !self.guidance_scale.is_finite() || self.guidance_scale < 0.0 {
            return Err(BuildError::config(format!("{at}.guidance_scale"), "this must be a number of at least 0"));
        }
        if self.strength.is_some_and(|strength| !(0.0..=1.0).contains(&strength)) {
            return Err(BuildError::config(format!("{at}.strength"), "this must be a number from 0 to 1"));
        }
        if let Some((option, why)) = self.wrong_option() {
            return Err(BuildError::config(format!("{at}.options.{option}"), why));
        }
        let (installed, own_size, digest) = match found {
            Found::Here(here) => (Installed::Yes, Some(here.size), Some(here.digest.clone())),
            Found::Absent { detail, remedy } => {
                (Installed::No { detail: detail.clone(), remedy: remedy.clone() }, None, None)
            }
        };
        let support = |is: bool| if is { Support::Yes } else { Support::No };
        Ok(Model {
            key: ModelKey::new(key),
            name: self.name.clone().unwrap_or_else(|| key.to_owned()),
            aliases: self.aliases.clone(),
            installed,
            price_key: None,
            digest,
            supports: Supports {
                negative_prompt: support(self.supports_negative_prompt),
                reference_images: Support::No,
                ..Supports::all(Support::Yes)
            },
            limits,
            defaults: Defaults {
                size: self.size().or(own_size),
                steps: Some(self.steps.get()),
                guidance_scale: Some(self.guidance_scale),
                negative_prompt: self.negative_prompt.clone().filter(|_| self.supports_negative_prompt),
                scheduler: self.scheduler_name(),
            },
        })
    }

    /// An option that the pipeline does not have, or that is not the configuration's to say.
    fn wrong_option(&self) -> Option<(&'static str, &'static str)> {
        if self.options.preview_every.is_some() {
            return Some(("preview_every", "requests say how many previews they wish for"));
        }
        let foreign = self.options.foreign_to(self.pipeline)?;
        let is_flux = self.pipeline == PipelineKind::Flux;
        Some((foreign, if is_flux { "FLUX has no such option" } else { "only FLUX has such an option" }))
    }

    /// What requests are made into jobs with.
    pub fn local(&self, found: Here, dtype: Option<Dtype>) -> LocalModel {
        LocalModel {
            size: self.size().unwrap_or(found.size),
            source: found.source,
            steps: self.steps.get(),
            guidance_scale: self.guidance_scale,
            negative_prompt: self.negative_prompt.clone().filter(|_| self.supports_negative_prompt),
            scheduler: self.scheduler.clone(),
            strength: self.strength,
            options: self.options.clone(),
            dtype,
        }
    }

    fn size(&self) -> Option<ImageSize> {
        self.size.map(|size| size.0)
    }

    fn scheduler_name(&self) -> Option<String> {
        let name = self.scheduler.as_ref()?.get("_class_name")?.as_str()?;
        Some(name.to_owned())
    }
}

fn yes() -> bool {
    true
}

fn default_steps() -> NonZeroU32 {
    NonZeroU32::new(30).unwrap_or(NonZeroU32::MIN)
}

fn default_guidance_scale() -> f64 {
    5.0
}
