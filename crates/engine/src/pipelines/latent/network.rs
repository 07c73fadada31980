//! One call of the UNet: what goes in beside the latents, and what is done with what comes out.

use tch::Tensor;

use crate::config::{UNetConfig, VaeConfig};
use crate::models::UNet;
use crate::models::unet::Conditioning;
use crate::pipelines::guidance::Guidance;
use crate::pipelines::together::Beside;
use crate::pipelines::work::Work;
use crate::{Error, Result};

/// What the channels of a UNet's input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Latents alone.
    Latents,
    /// Latents, a mask, and the latents of the picture without what is under the mask: made for inpainting.
    Masked,
}

impl Layout {
    /// The layout of a UNet that works on the latents of a VAE.
    pub fn of(unet: &UNetConfig, vae: &VaeConfig) -> Result<Self> {
        let latents = vae.latent_channels;
        let masked = latents.saturating_mul(2).saturating_add(1);
        match unet.in_channels {
            channels if channels == latents && unet.out_channels == latents => Ok(Self::Latents),
            channels if channels == masked && unet.out_channels == latents => Ok(Self::Masked),
            channels => Err(Error::broken(format!(
                "the unet maps {channels} channels to {} and the vae decodes {latents}: {latents} or {masked} to {latents} are needed",
                unet.out_channels
            ))),
        }
    }

    /// Refuses work that the channels are not for.
    pub fn check(self, work: &Work) -> Result<()> {
        match (self, work) {
            (Self::Latents, _) | (Self::Masked, Work::Inpaint { .. }) => Ok(()),
            (Self::Masked, Work::Text | Work::Image { .. }) => Err(Error::invalid(
                "the model only repaints a part of a picture: its unet takes a mask and what is around it",
            )
            .with_hint("give an image and a mask, or choose another model")),
        }
    }
}

/// What the UNet says of `sample`, `(n, …)`, with guidance where there is some.
///
/// The halves are put together, not repeated: that keeps the order in which a picture's numbers lie, and with it the
/// kernels that diffusers' convolutions take.
pub(super) fn predict(
    unet: &UNet,
    sample: &Tensor,
    timestep: f64,
    beside: Option<&Beside>,
    guidance: Option<Guidance>,
    told: &Conditioning,
) -> Result<Tensor> {
    let twice = |tensor: &Tensor| match guidance {
        Some(_) => Tensor::f_cat(&[tensor, tensor], 0),
        None => Ok(tensor.shallow_clone()),
    };
    let input = match beside {
        Some([mask, masked]) => Tensor::f_cat(&[twice(sample)?, twice(mask)?, twice(masked)?], 1)?,
        None => twice(sample)?,
    };
    let output = unet.forward(&input, timestep, told)?;
    match guidance {
        Some(guidance) => guidance.combine(&output),
        None => Ok(output),
    }
}
