//! From noise to latents, and from latents to a picture.

use tch::Tensor;

use super::Flux;
use super::pack::{pack, unpack};
use super::prompt::Conditionings;
use crate::models::{FluxTransformer, VaeDecoder};
use crate::pipelines::guidance::Guidance;
use crate::pipelines::noise::Noise;
use crate::pipelines::sampler::wait_for;
use crate::pipelines::{Observer, Sampler, pixels};
use crate::schedulers::Schedule;
use crate::{Error, Result};

/// What timesteps are counted in, and what the network wants them divided by.
const TRAINING_STEPS: f32 = 1000.0;

impl Flux {
    /// `(1, channels, h, w)`: the latents of one picture.
    #[expect(clippy::too_many_arguments, reason = "a picture is made of these")]
    pub(super) fn denoise(
        &self,
        transformer: &FluxTransformer,
        schedule: &Schedule,
        conditionings: &Conditionings,
        (image, seed): (u32, u64),
        grid: (i64, i64),
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let name = |name: &str| if image == 0 { name.to_owned() } else { format!("image_{image}.{name}") };
        let (rows, columns) = grid;
        let mut sampler = Sampler::new(schedule, 0)?;
        let steps = sampler.len();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut noise = Noise::of(&[seed], &[self.vae.latent_channels, rows * 2, columns * 2])?;
        let first = noise.draw()?;
        observer.dump(&name("latents_in"), &first);
        let mut latents =
            first.f_mul_scalar(sampler.init_noise_sigma())?.f_to_device_(self.device, self.kind, false, false)?;
        for i in 0..steps {
            let timestep = sampler.timestep(i)?;
            let input = sampler.scale_input(i, &latents)?;
            let output = unpack(&predict(transformer, &pack(&input)?, timestep, conditionings)?, grid)?;
            latents = sampler.step(i, &latents, &output, &mut || noise.draw())?;
            wait_for(&latents)?;
            observer.dump(&name(&format!("step_{i}")), &latents);
            if observer.step(image, count(i + 1), count(steps)).is_break() {
                return Err(Error::cancelled());
            }
        }
        Ok(latents)
    }

    /// Rows of red, green and blue bytes.
    pub(super) fn decode(
        &self,
        vae: &VaeDecoder,
        latents: &Tensor,
        image: u32,
        observer: &mut dyn Observer,
    ) -> Result<Vec<u8>> {
        let shift = self.vae.shift_factor.unwrap_or_default();
        let latents = latents.f_totype(self.vae_kind)?;
        let latents = latents.f_div_scalar(self.vae.scaling_factor)?.f_add_scalar_(shift)?;
        let decoded = pixels::to_unit_range(&vae.decode(&latents, None, &mut || Ok(()))?)?;
        let name = if image == 0 { "image".to_owned() } else { format!("image_{image}.image") };
        observer.dump(&name, &decoded);
        pixels::to_rgb(&decoded)
    }
}

/// What the network says of patches, pulled away from what it says of the negative prompt.
fn predict(
    transformer: &FluxTransformer,
    patches: &Tensor,
    timestep: f64,
    conditionings: &Conditionings,
) -> Result<Tensor> {
    #[expect(clippy::cast_possible_truncation, reason = "timesteps are single precision")]
    let time = f64::from(timestep as f32 / TRAINING_STEPS);
    let positive = transformer.forward(patches, time, &conditionings.positive)?;
    let Some((conditioning, scale)) = &conditionings.negative else {
        return Ok(positive);
    };
    let negative = transformer.forward(patches, time, conditioning)?;
    Guidance { scale: *scale, rescale: 0.0 }.combine(&Tensor::f_cat(&[negative, positive], 0)?)
}
