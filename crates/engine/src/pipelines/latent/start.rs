//! Where the latents begin: noise, or the latents of a picture with noise on them. Every picture's generator draws in the
//! order of diffusers' pipelines, also what is then not used, or noise that a schedule draws later would be another.

use tch::{Device, Kind, Tensor};

use super::{LatentModel, Layout};
use crate::Result;
use crate::models::vae::{Posterior, Scaling, Tiling};
use crate::pictures::Pixels;
use crate::pipelines::denoise::{Kept, Watch, on};
use crate::pipelines::noise::Noise;
use crate::pipelines::together::{Start, going_on};
use crate::pipelines::work::Work;
use crate::pipelines::{Observer, Sampler, pixels};
use crate::pool::Pool;

/// The pictures of a request, encoded; the same for every seed.
#[derive(Debug, Default)]
pub struct Source {
    /// What it begins from, where that is needed.
    image: Option<Posterior>,
    /// The same without what is under the mask, for networks that look at it.
    masked: Option<Posterior>,
    /// `(1, 1, h, w)`: the mask, one number for a latent, 1 where it is repainted.
    mask: Option<Tensor>,
}

impl LatentModel {
    /// Encodes the pictures of the request.
    pub(super) fn read(
        &self,
        work: &Work,
        tiling: Option<Tiling>,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Source> {
        let image = match work {
            Work::Text => return Ok(Source::default()),
            Work::Image { image, .. } | Work::Inpaint { image, .. } => pixels::of_picture(image)?,
        };
        let encoder = self.common().lease_encoder(pool)?;
        encoder.warnings().iter().for_each(|warning| observer.warn(warning));
        let mut encode = |picture: &Tensor| {
            encoder.encode(&on(self.device, self.vae_kind, picture)?, tiling, &mut || going_on(observer))
        };
        let Work::Inpaint { mask, .. } = work else {
            return Ok(Source { image: Some(encode(&image)?), ..Source::default() });
        };
        let mask = of_mask(mask)?;
        let factor = i64::from(self.vae.scale_factor());
        let step = |mask: &Tensor, axis| mask.f_slice(axis, 0, None, factor);
        let small = on(self.device, self.kind, &step(&step(&mask, 2)?, 3)?)?;
        let is_begun_from = self.layout == Layout::Latents || !is_whole(work.strength());
        let masked = match self.layout {
            Layout::Masked => Some(encode(&image.f_mul(&mask.f_neg()?.f_add_scalar(1.0)?)?)?),
            Layout::Latents => None,
        };
        let image = if is_begun_from { Some(encode(&image)?) } else { None };
        Ok(Source { image, masked, mask: Some(small) })
    }

    /// Draws what the pictures of `noise` begin with.
    pub(super) fn start(
        &self,
        source: &Source,
        work: &Work,
        scaling: Scaling,
        sampler: &Sampler<'_>,
        noise: &mut Noise,
        watched: &mut dyn Watch,
    ) -> Result<Start> {
        let sample = |posterior: &Posterior, noise: &mut Noise| -> Result<Tensor> {
            let drawn = on(self.device, self.vae_kind, &noise.draw()?)?;
            scaling.apply(&self.vae, &posterior.sample(&drawn)?.f_totype(self.kind)?)
        };
        let clean = match (&source.image, work) {
            // Repeated for the batch in diffusers, which puts its numbers into another order.
            (Some(image), Work::Inpaint { .. }) => Some(sample(image, noise)?.f_contiguous()?),
            (Some(image), _) => Some(sample(image, noise)?),
            (None, _) => None,
        };
        let drawn = noise.draw()?;
        watched.dump("latents_in", &drawn)?;
        let drawn = on(self.device, self.kind, &drawn)?;
        let latents = match &clean {
            Some(clean) if matches!(work, Work::Image { .. }) || !is_whole(work.strength()) => {
                sampler.add_noise(0, clean, &drawn)?
            }
            _ => drawn.f_mul_scalar(sampler.init_noise_sigma())?,
        };
        watched.dump("begin", &latents)?;
        let Some(mask) = &source.mask else {
            return Ok(Start { latents, kept: None, beside: None });
        };
        match (&source.masked, clean) {
            (Some(masked), _) => {
                let masked = sample(masked, noise)?;
                let pictures = masked.size4()?.0;
                Ok(Start { latents, kept: None, beside: Some([mask.f_repeat([pictures, 1, 1, 1])?, masked]) })
            }
            (None, clean) => {
                // diffusers encodes the masked picture here too, and draws for it.
                let _ = noise.draw()?;
                let kept = clean.map(|clean| Kept { clean, noise: drawn, mask: mask.shallow_clone() });
                Ok(Start { latents, kept, beside: None })
            }
        }
    }
}

/// Whether nothing of the picture is to be begun from.
#[expect(clippy::float_cmp, reason = "exactly one, as in diffusers: 0.9999 begins from the picture")]
fn is_whole(strength: f64) -> bool {
    strength == 1.0
}

/// `(1, 1, height, width)`: 1 where a mask is at least half white, else 0.
pub(in crate::pipelines) fn of_mask(mask: &Pixels) -> Result<Tensor> {
    let white: Vec<u8> = mask.brightness().map(|bright| u8::from(bright >= 128)).collect();
    let shape = [1, 1, i64::from(mask.height), i64::from(mask.width)];
    Ok(Tensor::f_from_slice(&white)?.f_view(shape)?.f_to_device_(Device::Cpu, Kind::Float, false, false)?)
}
