//! Stable Diffusion XL (Podell et al. 2023), text to image: `StableDiffusionXLPipeline` of diffusers.

mod denoise;
mod open;
mod prompt;

use easel_engine_protocol::Dtype;
use tch::{Device, Kind};

use self::prompt::TextEncoder;
use super::size::latent_size;
use super::{Observer, Picture, Pipeline, Request, memory};
use crate::config::{ClipConfig, UNetConfig, VaeConfig};
use crate::models::{AutoencoderKl, UNet};
use crate::parts::ModelParts;
use crate::pool::{Lease, Pool};
use crate::tokenizer::ClipTokenizer;
use crate::schedulers::Ask;
use crate::{Error, Result};

/// An SDXL model.
#[derive(Debug)]
pub struct Sdxl {
    parts: ModelParts,
    device: Device,
    kind: Kind,
    /// The kind that the VAE decodes in; single precision where half overflows.
    vae_kind: Kind,
    /// Names of the text encoders in the order of the concatenation, with their tokenizers. The refiner's shape has one.
    encoders: Vec<(&'static str, ClipTokenizer, ClipConfig)>,
    unet: UNetConfig,
    vae: VaeConfig,
    force_zeros: bool,
    warnings: Vec<String>,
}

impl Sdxl {
    /// The model of these parts. Its networks are built when they are first used.
    pub fn open(parts: ModelParts, device: Device, dtype: Dtype) -> Result<Self> {
        open::open(parts, device, dtype)
    }

    /// Whether the negative prompt is computed at all. Networks that embed the scale do not need it.
    fn guides(&self, request: &Request) -> bool {
        request.guidance_scale > 1.0 && self.unet.time.cond_proj_dim.is_none()
    }

    fn lease_unet(&self, pool: &Pool) -> Result<Lease<UNet>> {
        pool.lease(self.parts.needed("unet", "UNet2DConditionModel")?, self.kind)
    }

    fn lease_vae(&self, pool: &Pool) -> Result<Lease<AutoencoderKl>> {
        pool.lease(self.parts.needed("vae", "AutoencoderKL")?, self.vae_kind)
    }

    fn lease_encoders(&self, pool: &Pool) -> Result<Vec<TextEncoder<'_>>> {
        self.encoders
            .iter()
            .map(|(name, tokenizer, _)| {
                let part = self.parts.part(name).ok_or_else(|| Error::internal(format!("{name} is gone")))?;
                Ok(TextEncoder { tokenizer, model: pool.lease(part, self.kind)? })
            })
            .collect()
    }
}

impl Pipeline for Sdxl {
    fn load(&self, pool: &Pool) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        self.lease_encoders(pool)?;
        self.lease_unet(pool)?;
        self.lease_vae(pool)?;
        Ok(())
    }

    /// One after the other: a picture does not depend on its neighbours.
    fn generate(&self, request: &Request, pool: &Pool, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        let _no_grad = tch::no_grad_guard();
        let size = latent_size(request.width, request.height, self.vae.scale_factor())?;
        if !request.guidance_scale.is_finite() {
            return Err(Error::invalid(format!("guidance_scale is {}, not a number", request.guidance_scale)));
        }
        let ask = Ask::steps(request.steps);
        let schedule = crate::schedulers::build(&self.parts.scheduler, request.scheduler.as_ref(), &ask)?;
        memory::check(&self.vae, (request.width, request.height), self.device, self.vae_kind)?;
        let texts = self.encode_prompts(request, pool, observer)?;
        let (unet, vae) = (self.lease_unet(pool)?, self.lease_vae(pool)?);
        let warnings = self.warnings.iter().chain(unet.warnings()).chain(vae.warnings());
        warnings.for_each(|warning| observer.warn(warning));
        let conditioning = self.condition(request, &unet, &texts)?;
        observer.encoded();
        let mut pictures = Vec::with_capacity(request.seeds.len());
        for (image, &seed) in (0..).zip(&request.seeds) {
            let latents = self.denoise(request, &unet, &schedule, &conditioning, (image, seed), size, observer)?;
            let rgb = self.decode(&vae, &latents, image, observer)?;
            let picture = Picture { seed, width: request.width, height: request.height, rgb };
            observer.picture(image, &picture);
            pictures.push(picture);
        }
        Ok(pictures)
    }
}
