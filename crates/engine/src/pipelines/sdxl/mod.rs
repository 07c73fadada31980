//! Stable Diffusion XL (Podell et al. 2023), text to image: `StableDiffusionXLPipeline` of diffusers.

mod denoise;
mod open;
mod prompt;

use easel_catalog::DiffusersFolder;
use easel_engine_protocol::Dtype;
use serde_json::{Map, Value};
use tch::{Device, Kind};

use self::prompt::TextEncoder;
use super::size::latent_size;
use super::{Observer, Picture, TextToImage, memory};
use crate::models::{AutoencoderKl, UNet};
use crate::{Error, Result};

/// An open SDXL model. Everything about it happens on the thread that owns its device.
#[derive(Debug)]
pub struct Sdxl {
    device: Device,
    kind: Kind,
    /// The kind that the VAE decodes in; single precision where half overflows.
    vae_kind: Kind,
    /// In the order of the concatenation. The refiner's shape has one.
    encoders: Vec<TextEncoder>,
    unet: UNet,
    vae: AutoencoderKl,
    scheduler: Map<String, Value>,
    force_zeros: bool,
    warnings: Vec<String>,
}

impl Sdxl {
    /// Opens a folder in diffusers layout.
    pub fn open(folder: &DiffusersFolder, device: Device, dtype: Dtype) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        open::open(folder, device, dtype)
    }

    /// What is odd about the model's files, though it can be used.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Makes one picture for each seed, one after the other: a picture does not depend on its neighbours.
    pub fn generate(&self, request: &TextToImage, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        let _no_grad = tch::no_grad_guard();
        let size = latent_size(request.width, request.height, self.vae.config().scale_factor())?;
        if !request.guidance_scale.is_finite() {
            return Err(Error::invalid(format!("guidance_scale is {}, not a number", request.guidance_scale)));
        }
        let schedule = crate::schedulers::build(&self.scheduler, request.scheduler.as_ref(), request.steps)?;
        memory::check(self.vae.config(), (request.width, request.height), self.device, self.vae_kind)?;
        for warning in &self.warnings {
            observer.warn(warning);
        }
        let conditioning = self.condition(request, observer)?;
        observer.encoded();
        let mut pictures = Vec::with_capacity(request.seeds.len());
        for (image, &seed) in (0..).zip(&request.seeds) {
            let latents = self.denoise(request, &*schedule, &conditioning, (image, seed), size, observer)?;
            let rgb = self.decode(&latents, image, observer)?;
            let picture = Picture { seed, width: request.width, height: request.height, rgb };
            observer.picture(image, &picture);
            pictures.push(picture);
        }
        Ok(pictures)
    }

    /// Whether the negative prompt is computed at all. Networks that embed the scale do not need it.
    fn guides(&self, request: &TextToImage) -> bool {
        request.guidance_scale > 1.0 && self.unet.config().time.cond_proj_dim.is_none()
    }
}
