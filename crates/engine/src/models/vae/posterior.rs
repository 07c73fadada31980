//! Where the latents of a picture lie: `DiagonalGaussianDistribution` of diffusers.

use tch::Tensor;

use crate::Result;

/// A normal distribution for every number of the latents.
#[derive(Debug)]
pub struct Posterior {
    /// `(batch, latent_channels, h, w)`: its middle.
    pub mean: Tensor,
    /// Of the same shape: the logarithm of its variance, from -30 to 20.
    pub logvar: Tensor,
}

impl Posterior {
    /// From what the encoder says: `(batch, 2 · latent_channels, h, w)`.
    pub(super) fn of(moments: &Tensor) -> Result<Self> {
        let (_, channels, ..) = moments.size4()?;
        let mean = moments.f_narrow(1, 0, channels / 2)?;
        let logvar = moments.f_narrow(1, channels / 2, channels / 2)?.f_clamp(-30.0, 20.0)?;
        Ok(Self { mean, logvar })
    }

    /// Latents of it, by unit noise of its shape.
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor> {
        let deviation = self.logvar.f_mul_scalar(0.5)?.f_exp()?;
        Ok(self.mean.f_add(&deviation.f_mul(noise)?)?)
    }
}
