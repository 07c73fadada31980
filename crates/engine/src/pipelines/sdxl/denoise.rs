//! From noise to latents, and from latents to a picture.

use tch::{Device, Tensor};

use super::Sdxl;
use crate::models::unet::Conditioning;
use crate::models::{AutoencoderKl, UNet};
use crate::pipelines::noise::unit_noise;
use crate::pipelines::{Observer, Request, guidance, pixels, step};
use crate::schedulers::Scheduler;
use crate::{Error, Result};

impl Sdxl {
    /// `(1, channels, h, w)`: the latents of one picture.
    pub(super) fn denoise(
        &self,
        request: &Request,
        unet: &UNet,
        schedule: &dyn Scheduler,
        conditioning: &Conditioning,
        (image, seed): (u32, u64),
        (height, width): (i64, i64),
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let name = |name: &str| if image == 0 { name.to_owned() } else { format!("image_{image}.{name}") };
        let steps = schedule.len();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let guides = self.guides(request);

        let noise = unit_noise(seed, &[1, self.unet.in_channels, height, width])?;
        observer.dump(&name("latents_in"), &noise);
        let mut latents =
            noise.f_mul_scalar(schedule.init_noise_sigma())?.f_to_device_(self.device, self.kind, false, false)?;
        for i in 0..steps {
            let mut input = latents.f_div_scalar(schedule.input_divisor(i))?;
            if guides {
                input = input.f_repeat([2, 1, 1, 1])?;
            }
            let timestep = schedule.timestep(i);
            let mut output = unet.forward(&input, timestep, conditioning)?;
            if guides {
                output = guidance::combine(&output, request.guidance_scale)?;
            }
            latents = step::apply(&schedule.step(i), &latents, &output)?;
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

/// A GPU only queues what it is told: without this, steps would be reported, and could be cancelled, long before
/// they are done. Reading a number waits for it.
fn wait_for(latents: &Tensor) -> Result<()> {
    if latents.device() != Device::Cpu {
        let _ = latents.f_flatten(0, -1)?.f_narrow(0, 0, 1)?.f_to(Device::Cpu)?;
    }
    Ok(())
}
