//! What a picture will look like, without decoding it: each latent becomes one pixel, by the line that comes nearest to
//! what the VAE makes of it.
//!
//! The line is found by least squares, once for a model: soft patches of colour are decoded and compared. So every VAE has
//! one, whatever its channels and scale, and none has to be listed.

use tch::{Device, Kind, Tensor};

use super::{Generator, pixels};
use crate::config::VaeConfig;
use crate::models::VaeDecoder;
use crate::models::vae::Scaling;
use crate::pictures::Pixels;
use crate::{Error, Result};

/// The side of what is decoded to find the line, in latents, and of the patches of one colour in it.
const SIDE: i64 = 16;
const PATCH: i64 = 4;
/// So many such pictures.
const SAMPLES: i64 = 2;
/// Any; the same each time.
const SEED: u64 = 0;

/// The line from latents to colours.
#[derive(Debug)]
pub struct Preview {
    /// `(latent_channels + 1, 3)`; the last row is what a latent of zeros looks like.
    line: Tensor,
}

impl Preview {
    /// Finds the line of a VAE, whose config is the pipeline's own: the network may be shared with others.
    pub fn fit(
        vae: &VaeDecoder,
        (config, scaling): (&VaeConfig, Scaling),
        (device, kind): (Device, Kind),
    ) -> Result<Self> {
        let channels = config.latent_channels;
        if config.out_channels != 3 {
            return Err(Error::broken(format!("vae: decodes to {} channels, a picture has 3", config.out_channels)));
        }
        let mut generator = Generator::new(SEED)?;
        let patches = generator.randn(&[SAMPLES, channels, SIDE / PATCH, SIDE / PATCH])?;
        let soft = patches.f_upsample_bilinear2d([SIDE, SIDE], false, None, None)?;
        let latents = soft.f_mul_scalar(1.5)?;
        let decoded =
            vae.decode(&scaling.undo(config, &latents.f_to_device_(device, kind, false, false)?)?, None, &mut || {
                Ok(())
            })?;
        let small =
            decoded.f_to_device_(Device::Cpu, Kind::Double, false, false)?.f_adaptive_avg_pool2d([SIDE, SIDE])?;
        let (known, wanted) = (columns(&latents.f_totype(Kind::Double)?)?, columns(&small)?);
        let known = Tensor::f_cat(&[&known, &known.f_narrow(1, 0, 1)?.f_ones_like()?], 1)?;
        // The normal equations; a little is added to their diagonal, for a channel may mean nothing at all.
        let turned = known.f_tr()?;
        let square = turned.f_matmul(&known)?;
        let some = Tensor::f_eye(channels + 1, (Kind::Double, Device::Cpu))?.f_mul_scalar(1e-3)?;
        let (line, _) = Tensor::f_linalg_solve_ex(&square.f_add(&some)?, &turned.f_matmul(&wanted)?, true, false)?;
        Ok(Self { line: line.f_totype(Kind::Float)? })
    }

    /// A pixel for each latent: `(1, latent_channels, h, w)`.
    pub fn of(&self, latents: &Tensor) -> Result<Pixels> {
        let latents = latents.f_to_device_(Device::Cpu, Kind::Float, false, false)?;
        let (_, channels, height, width) = latents.size4()?;
        let weights = self.line.f_narrow(0, 0, channels)?;
        let colours = columns(&latents)?.f_matmul(&weights)?.f_add(&self.line.f_narrow(0, channels, 1)?)?;
        let image = colours.f_tr()?.f_reshape([1, 3, height, width])?;
        let rgb = pixels::to_rgb(&pixels::to_unit_range(&image)?)?;
        let side = |length: i64| u32::try_from(length).unwrap_or_default();
        Ok(Pixels { width: side(width), height: side(height), rgb })
    }
}

/// `(n, channels, h, w)` to a row for each pixel.
fn columns(pictures: &Tensor) -> Result<Tensor> {
    let (_, channels, ..) = pictures.size4()?;
    Ok(pictures.f_permute([0, 2, 3, 1])?.f_reshape([-1, channels])?)
}
