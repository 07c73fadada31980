//! From noise to latents, and from latents to a picture.

use tch::Tensor;

use super::Sdxl;
use crate::models::unet::Conditioning;
use crate::models::{AutoencoderKl, UNet};
use crate::pipelines::noise::NoiseStream;
use crate::pipelines::sampler::wait_for;
use crate::pipelines::{Observer, Request, Sampler, guidance, pixels};
use crate::schedulers::Schedule;
use crate::{Error, Result};

impl Sdxl {
    /// `(1, channels, h, w)`: the latents of one picture.
    pub(super) fn denoise(
        &self,
        request: &Request,
        unet: &UNet,
        schedule: &Schedule,
        conditioning: &Conditioning,
        (image, seed): (u32, u64),
        (height, width): (i64, i64),
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let name = |name: &str| if image == 0 { name.to_owned() } else { format!("image_{image}.{name}") };
        let mut sampler = Sampler::new(schedule, 0)?;
        let steps = sampler.len();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let guides = self.guides(request);

        let mut stream = NoiseStream::new(seed, &[1, self.unet.in_channels, height, width]);
        let noise = stream.draw()?;
        observer.dump(&name("latents_in"), &noise);
        let mut latents =
            noise.f_mul_scalar(sampler.init_noise_sigma())?.f_to_device_(self.device, self.kind, false, false)?;
        for i in 0..steps {
            let mut input = sampler.scale_input(i, &latents)?;
            if guides {
                input = input.f_repeat([2, 1, 1, 1])?;
            }
            let timestep = sampler.timestep(i)?;
            let mut output = unet.forward(&input, timestep, conditioning)?;
            if guides {
                output = guidance::combine(&output, request.guidance_scale)?;
            }
            latents = sampler.step(i, &latents, &output, &mut || stream.draw())?;
            wait_for(&latents)?;
            observer.dump(&name(&format!("step_{i}")), &latents);
            #[expect(clippy::cast_possible_truncation, reason = "timesteps are single precision")]
            observer.dump(&name(&format!("t_{i}")), &Tensor::f_from_slice(&[timestep as f32])?);
            if observer.step(image, count(i + 1), count(steps)).is_break() {
                return Err(Error::cancelled());
            }
        }
        Ok(latents)
    }

    /// Rows of red, green and blue bytes.
    pub(super) fn decode(
        &self,
        vae: &AutoencoderKl,
        latents: &Tensor,
        image: u32,
        observer: &mut dyn Observer,
    ) -> Result<Vec<u8>> {
        let latents = vae.unscale(&latents.f_totype(self.vae_kind)?)?;
        let decoded = pixels::to_unit_range(&vae.decode(&latents)?)?;
        let name = if image == 0 { "image".to_owned() } else { format!("image_{image}.image") };
        observer.dump(&name, &decoded);
        pixels::to_rgb(&decoded)
    }
}
