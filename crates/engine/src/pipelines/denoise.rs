//! From noisy latents to clean ones: the loop that every pipeline goes through. What the network is and what it is told
//! beside the latents, the pipeline says.

use tch::{Device, Kind, Tensor};

use super::noise::Noise;
use super::preview::Preview;
use super::sampler::{Sampler, wait_for};
use super::{Observer, dump_name};
use crate::{Error, Result};

/// What the network says about a sample (scaled as the schedule wants it) at a timestep.
pub type Predict<'a> = dyn FnMut(&Tensor, f64) -> Result<Tensor> + 'a;

/// What stays as it was while the rest is repainted.
#[derive(Debug)]
pub struct Kept {
    /// The latents of the picture that it began from, clean: `(n, channels, h, w)`.
    pub clean: Tensor,
    /// The noise that the pictures began with; the same at every step, or what stays would flicker.
    pub noise: Tensor,
    /// `(1, 1, h, w)`: 1 where it is repainted, 0 where it stays.
    pub mask: Tensor,
}

impl Kept {
    /// The latents with what stays put back, as noisy as run `next` expects; clean after the last.
    fn put_back(&self, sampler: &Sampler<'_>, next: usize, latents: &Tensor) -> Result<Tensor> {
        let kept = if next < sampler.len() { &sampler.add_noise(next, &self.clean, &self.noise)? } else { &self.clean };
        let stays = self.mask.f_neg()?.f_add_scalar(1.0)?;
        Ok(stays.f_mul(kept)?.f_add(&self.mask.f_mul(latents)?)?)
    }
}

/// Who is told about pictures that are computed together.
pub trait Watch {
    /// `tensor` of `(n, …)` has a picture in each row.
    fn dump(&mut self, name: &str, tensor: &Tensor) -> Result<()>;

    /// A step of all of them is done. `clean` estimates what they will be. An error ends the work.
    fn step(&mut self, done: Done, clean: &mut Clean<'_>) -> Result<()>;
}

/// The clean latents as estimated after a step, `(n, …)`.
pub type Clean<'a> = dyn FnMut() -> Result<Option<Tensor>> + 'a;

/// How far pictures are.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// How many pictures.
    pub pictures: i64,
    /// The step, from 1.
    pub step: usize,
    /// Of so many.
    pub steps: usize,
}

/// The pictures of a request that are computed together, for who watches it.
pub struct Watched<'a> {
    /// Who watches.
    pub observer: &'a mut dyn Observer,
    /// The place of the first picture in the request.
    pub first: u32,
    /// A small picture after every so many steps.
    pub preview: Option<(&'a Preview, u32)>,
}

impl Watch for Watched<'_> {
    fn dump(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        for (row, image) in (0..tensor.size().first().copied().unwrap_or_default()).zip(self.first..) {
            self.observer.dump(&dump_name(image, name), &tensor.f_narrow(0, row, 1)?);
        }
        Ok(())
    }

    fn step(&mut self, done: Done, clean: &mut Clean<'_>) -> Result<()> {
        let Done { pictures, step, steps } = done;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let images = self.first..self.first.saturating_add(u32::try_from(pictures).unwrap_or_default());
        for image in images.clone() {
            if self.observer.step(image, count(step), count(steps)).is_break() {
                return Err(Error::cancelled());
            }
        }
        // After the last step the picture itself comes.
        if let Some((preview, every)) = self.preview
            && count(step) % every == 0
            && step < steps
            && let Some(clean) = clean()?
        {
            for (row, image) in (0..).zip(images) {
                let picture = preview.of(&clean.f_narrow(0, row, 1)?)?;
                self.observer.preview(image, count(step), &picture);
            }
        }
        Ok(())
    }
}

/// Follows the schedule from `latents` (`(n, …)`) to its end.
pub fn denoise(
    mut sampler: Sampler<'_>,
    mut latents: Tensor,
    noise: &mut Noise,
    predict: &mut Predict<'_>,
    kept: Option<&Kept>,
    watched: &mut dyn Watch,
) -> Result<Tensor> {
    let steps = sampler.len();
    let pictures = latents.size().first().copied().unwrap_or_default();
    for i in 0..steps {
        let timestep = sampler.timestep(i)?;
        let output = predict(&sampler.scale_input(i, &latents)?, timestep)?;
        latents = sampler.step(i, &latents, &output, &mut || noise.draw())?;
        if let Some(kept) = kept {
            latents = kept.put_back(&sampler, i + 1, &latents)?;
        }
        wait_for(&latents)?;
        watched.dump(&format!("step_{i}"), &latents)?;
        #[expect(clippy::cast_possible_truncation, reason = "timesteps are single precision")]
        let told = Tensor::f_from_slice(&[timestep as f32])?.f_expand([pictures], false)?;
        watched.dump(&format!("t_{i}"), &told)?;
        watched.step(Done { pictures, step: i + 1, steps }, &mut || sampler.denoised())?;
    }
    Ok(latents)
}

/// On the device that computes, in its type.
pub fn on(device: Device, kind: Kind, tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_to_device_(device, kind, false, false)?)
}
