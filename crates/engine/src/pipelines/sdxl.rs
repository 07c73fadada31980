//! Stable Diffusion XL (Podell et al. 2023): `StableDiffusionXLPipeline` of diffusers with its siblings for pictures and
//! parts of them, and the refiner, which only goes on with pictures.

use easel_engine_protocol::{Dtype, PipelineKind};
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
    pipeline: PipelineKind::Sdxl,
    classes: &["StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"],
    // The refiner has the second alone.
    encoders: &[("text_encoder", "tokenizer", true), ("text_encoder_2", "tokenizer_2", false)],
    upcasts_vae: true,
};
/// Those of diffusers' pipelines.
const STRENGTHS: Strengths = Strengths { image: 0.3, inpaint: 0.9999 };
/// What the refiner is told of how good a picture is to be, and how the negative prompt's is, as in diffusers.
const SCORES: [f64; 2] = [6.0, 2.5];

/// An SDXL model.
#[derive(Debug)]
pub struct Sdxl {
    model: LatentModel,
    absent_is_zeros: bool,
    /// The refiner is told a score in place of the target size.
    is_scored: bool,
}

impl Sdxl {
    /// The model of these parts. Its networks are built when they are first used.
    pub fn open(parts: ModelParts, device: Device, dtype: Dtype) -> Result<Self> {
        let absent_is_zeros = parts.flag("force_zeros_for_empty_prompt", true)?;
        let is_scored = parts.flag("requires_aesthetics_score", false)?;
        let model = Self { model: latent::open(parts, device, dtype, &RECIPE)?, absent_is_zeros, is_scored };
        model.check_added()?;
        Ok(model)
    }

    /// Whether the UNet takes as many numbers as it will be told.
    fn check_added(&self) -> Result<()> {
        let Some(added) = self.model.unet.added else {
            return Err(Error::broken("unet: addition_embed_type is null, SDXL needs text_time"));
        };
        let Some(pooled) = self.model.encoders.iter().find_map(|encoder| encoder.config.projection_dim) else {
            return Err(Error::broken("no text encoder is a CLIPTextModelWithProjection, SDXL needs the pooled text"));
        };
        let numbers = if self.is_scored { 5 } else { 6 };
        let given = added.time_dim.saturating_mul(numbers).saturating_add(pooled);
        if given == added.input_dim {
            return Ok(());
        }
        Err(Error::broken(format!(
            "unet: projection_class_embeddings_input_dim is {}, the pooled text and {numbers} sizes give {given}",
            added.input_dim
        )))
    }
}

impl Family for Sdxl {
    fn model(&self) -> &LatentModel {
        &self.model
    }

    fn strengths(&self) -> Strengths {
        STRENGTHS
    }

    fn layer(&self, clip_skip: u32) -> LayerChoice {
        LayerChoice::penultimate(clip_skip)
    }

    fn absent_is_zeros(&self) -> bool {
        self.absent_is_zeros
    }

    /// Original size, corner of the crop, and target size, height before width.
    fn sizes(&self, request: &Request) -> Option<[Vec<f64>; 2]> {
        let (height, width) = (f64::from(request.height), f64::from(request.width));
        let numbers = vec![height, width, 0.0, 0.0];
        let last =
            if self.is_scored { SCORES.map(|score| vec![score]) } else { [vec![height, width], vec![height, width]] };
        Some(last.map(|last| [numbers.clone(), last].concat()))
    }

    /// diffusers' pipeline for inpainting does not heed mean and deviation when it encodes, the others do.
    fn scalings(&self, work: &Work) -> [Scaling; 2] {
        match work {
            Work::Text | Work::Image { .. } => [Scaling::Statistics; 2],
            Work::Inpaint { .. } => [Scaling::Factor, Scaling::Statistics],
        }
    }

    fn check(&self, work: &Work) -> Result<()> {
        if self.is_scored && *work == Work::Text {
            return Err(Error::invalid("the model asks for an aesthetics score: it refines pictures and draws none")
                .with_hint("give an image, or use the base model"));
        }
        Ok(())
    }
}

impl Pipeline for Sdxl {
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
