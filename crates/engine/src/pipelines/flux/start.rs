//! Where the latents begin: noise, or the latents of a picture with noise on them. Every picture's generator draws in the
//! order of diffusers' pipelines.

use tch::Tensor;

use super::Flux;
use crate::Result;
use crate::models::vae::{Posterior, Scaling, Tiling};
use crate::pipelines::denoise::{Kept, Watch, on};
use crate::pipelines::latent::of_mask;
use crate::pipelines::noise::Noise;
use crate::pipelines::together::{Maker, Start, going_on};
use crate::pipelines::work::Work;
use crate::pipelines::{Observer, Sampler, pixels};
use crate::pool::Pool;

/// The pictures of a request, encoded; the same for every seed.
#[derive(Debug, Default)]
pub struct Source {
    /// What it begins from.
    image: Option<Posterior>,
    /// `(1, 1, h, w)`: the mask, one number for a latent, 1 where it is repainted.
    mask: Option<Tensor>,
}

impl Flux {
    /// Encodes the pictures of the request.
    pub(super) fn read(
        &self,
        work: &Work,
        tiling: Option<Tiling>,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Source> {
        let (image, mask) = match work {
            Work::Text => return Ok(Source::default()),
            Work::Image { image, .. } => (image, None),
            Work::Inpaint { image, mask, .. } => (image, Some(mask)),
        };
        let encoder = self.common().lease_encoder(pool)?;
        encoder.warnings().iter().for_each(|warning| observer.warn(warning));
        let image = on(self.device, self.vae_kind, &pixels::of_picture(image)?)?;
        let image = encoder.encode(&image, tiling, &mut || going_on(observer))?;
        let Some(mask) = mask else {
            return Ok(Source { image: Some(image), mask: None });
        };
        let factor = i64::from(self.vae.scale_factor());
        let nearest = of_mask(mask)?.f_slice(2, 0, None, factor)?.f_slice(3, 0, None, factor)?;
        Ok(Source { image: Some(image), mask: Some(on(self.device, self.kind, &nearest)?) })
    }

    /// What the pictures of `noise` begin with, `(n, channels, h, w)`, and what of it is put back after every step. However
    /// far a picture goes, FLUX begins from it: at a strength of 1 nothing of it is left in the noise.
    pub(super) fn start(
        &self,
        source: &Source,
        sampler: &Sampler<'_>,
        noise: &mut Noise,
        watched: &mut dyn Watch,
    ) -> Result<Start> {
        let clean = match &source.image {
            Some(image) => {
                let drawn = on(self.device, self.vae_kind, &noise.draw()?)?;
                Some(Scaling::Shift.apply(&self.vae, &image.sample(&drawn)?.f_totype(self.kind)?)?)
            }
            None => None,
        };
        let drawn = noise.draw()?;
        watched.dump("latents_in", &drawn)?;
        let drawn = on(self.device, self.kind, &drawn)?;
        let Some(clean) = clean else {
            let latents = drawn.f_mul_scalar(sampler.init_noise_sigma())?;
            return Ok(Start { latents, kept: None, beside: None });
        };
        // An encoder leaves the numbers of a pixel side by side; in diffusers packing puts them in planes again, and the
        // decoder's kernels go by that.
        let clean = clean.f_contiguous()?;
        let latents = sampler.add_noise(0, &clean, &drawn)?;
        let kept = source.mask.as_ref().map(|mask| Kept { clean, noise: drawn, mask: mask.shallow_clone() });
        if kept.is_some() {
            // diffusers encodes the masked picture here too, and draws for it.
            let _ = noise.draw()?;
        }
        Ok(Start { latents, kept, beside: None })
    }
}
