//! What lies between the latents of a VAE and those that diffusion works in.

use tch::Tensor;

use crate::Result;
use crate::config::VaeConfig;

/// How a pipeline brings latents to the size that diffusion works in. The config says by how much, diffusers' pipelines
/// differ in what of it they apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// By `scaling_factor` alone: Stable Diffusion 1 and 2.
    Factor,
    /// By mean and deviation of the channels too, where both are given: SDXL.
    Statistics,
    /// By `shift_factor` too: FLUX.
    Shift,
}

impl Scaling {
    /// From the VAE's latents to those of diffusion.
    pub fn apply(self, config: &VaeConfig, latents: &Tensor) -> Result<Tensor> {
        let factor = config.scaling_factor;
        match (self, &config.latents_statistics, config.shift_factor) {
            (Self::Statistics, Some((mean, std)), _) => {
                let (mean, std) = (channels(mean, latents)?, channels(std, latents)?);
                Ok(latents.f_sub(&mean)?.f_mul_scalar_(factor)?.f_div_(&std)?)
            }
            (Self::Shift, _, Some(shift)) => Ok(latents.f_sub_scalar(shift)?.f_mul_scalar_(factor)?),
            (Self::Factor | Self::Statistics | Self::Shift, ..) => Ok(latents.f_mul_scalar(factor)?),
        }
    }

    /// From the latents of diffusion to the VAE's.
    pub fn undo(self, config: &VaeConfig, latents: &Tensor) -> Result<Tensor> {
        let factor = config.scaling_factor;
        match (self, &config.latents_statistics, config.shift_factor) {
            (Self::Statistics, Some((mean, std)), _) => {
                let (mean, std) = (channels(mean, latents)?, channels(std, latents)?);
                Ok(latents.f_mul(&std)?.f_div_scalar_(factor)?.f_add_(&mean)?)
            }
            (Self::Shift, _, Some(shift)) => Ok(latents.f_div_scalar(factor)?.f_add_scalar_(shift)?),
            (Self::Factor | Self::Statistics | Self::Shift, ..) => Ok(latents.f_div_scalar(factor)?),
        }
    }
}

/// A number for each channel, in the latents' type and on their device.
fn channels(values: &[f64], latents: &Tensor) -> Result<Tensor> {
    let tensor = Tensor::f_from_slice(values)?.f_view([1, -1, 1, 1])?;
    Ok(tensor.f_to_device_(latents.device(), latents.f_kind()?, false, false)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tch::Tensor;

    use super::Scaling;
    use crate::config::VaeConfig;

    #[test]
    fn what_is_applied_is_undone_and_only_what_the_pipeline_applies() {
        let config = json!({
            "latent_channels": 2, "scaling_factor": 0.5, "shift_factor": 0.25, "latents_mean": [1.0, -1.0], "latents_std": [2.0, 4.0],
        });
        let config = VaeConfig::read("vae", config.as_object().unwrap()).unwrap();
        let latents = Tensor::from_slice(&[3.0_f32, 5.0]).view([1, 2, 1, 1]);
        for (scaling, expected) in
            [(Scaling::Factor, [1.5_f32, 2.5]), (Scaling::Statistics, [0.5, 0.75]), (Scaling::Shift, [1.375, 2.375])]
        {
            let scaled = scaling.apply(&config, &latents).unwrap();
            assert_eq!(Vec::<f32>::try_from(scaled.view(-1)).unwrap(), expected, "{scaling:?}");
            assert_eq!(scaling.undo(&config, &scaled).unwrap(), latents, "{scaling:?}");
        }
    }
}
