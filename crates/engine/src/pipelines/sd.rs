//! Stable Diffusion 1 and 2 (Rombach et al. 2022): `StableDiffusionPipeline` of diffusers with its siblings for pictures and
//! parts of them. The safety checker that comes with many of these models is not run.

use easel_engine_protocol::{Dtype, PipelineKind};
use serde_json::Value;
use tch::Device;

use super::latent::{self, Family, LatentModel, Recipe};
use super::work::{Strengths, Work};
use super::{Observer, Picture, Pipeline, Request, Together, together};
use crate::models::clip::LayerChoice;
use crate::models::vae::Scaling;
use crate::parts::ModelParts;
use crate::pool::Pool;
use crate::{Error, Result};

const RECIPE: Recipe = Recipe {
    pipeline: PipelineKind::Sd,
    classes: &["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"],
    encoders: &[("text_encoder", "tokenizer", false)],
    // Their VAE does not overflow; their configs often say nothing, which diffusers reads as that it did.
    upcasts_vae: false,
};
/// Those of diffusers' pipelines.
const STRENGTHS: Strengths = Strengths { image: 0.8, inpaint: 1.0 };

/// A Stable Diffusion 1 or 2 model.
#[derive(Debug)]
pub struct Sd {
    model: LatentModel,
}

impl Sd {
    /// The model of these parts. Its networks are built when they are first used.
    pub fn open(parts: ModelParts, device: Device, dtype: Dtype) -> Result<Self> {
        let checks = parts.settings.get("safety_checker").and_then(Value::as_array);
        let is_checked = checks.is_some_and(|component| component.iter().all(|name| !name.is_null()));
        let mut model = latent::open(parts, device, dtype, &RECIPE)?;
        if is_checked {
            model.warnings.push("the model's safety checker is not run".to_owned());
        }
        if model.unet.added.is_some() {
            return Err(Error::broken(
                "unet: addition_embed_type is text_time, which Stable Diffusion 1 and 2 do not have",
            )
            .with_hint("open it as an SDXL model"));
        }
        Ok(Self { model })
    }
}

impl Family for Sd {
    fn model(&self) -> &LatentModel {
        &self.model
    }

    fn strengths(&self) -> Strengths {
        STRENGTHS
    }

    fn layer(&self, clip_skip: u32) -> LayerChoice {
        LayerChoice::normed(clip_skip)
    }

    fn absent_is_zeros(&self) -> bool {
        false
    }

    fn sizes(&self, _: &Request) -> Option<[Vec<f64>; 2]> {
        None
    }

    fn scalings(&self, _: &Work) -> [Scaling; 2] {
        [Scaling::Factor; 2]
    }
}

impl Pipeline for Sd {
    fn load(&self, pool: &Pool) -> Result<()> {
        latent::load(self, pool)
    }

    fn generate(&self, request: &Request, pool: &Pool, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        together::generate_alone::<dyn Family>(self, request, pool, observer)
    }

    fn generate_together(&self, requests: &mut [Together<'_>], pool: &Pool) -> Vec<Result<Vec<Picture>>> {
        together::generate::<dyn Family>(self, requests, pool)
    }
}
