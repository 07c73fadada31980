//! Scales, shifts and gates that time decides (`AdaLayerNormZero` and its kin in diffusers). They are a quarter of the
//! weights, and all that is ever multiplied by them is one row for each time: so they are computed for many times at once,
//! and kept.

use tch::Tensor;

use super::EPS;
use crate::nn::layer_norm;
use crate::{Error, Result};

/// What the times decide, block by block: `(times, batch, n·width)` each.
#[derive(Debug)]
pub(super) struct Prepared {
    pub times: Vec<f64>,
    pub blocks: Modulations,
}

/// What is decided in every block.
#[derive(Debug)]
pub(super) struct Modulations {
    /// For the text and for the picture.
    pub double: Vec<[Tensor; 2]>,
    pub single: Vec<Tensor>,
    pub out: Tensor,
}

impl Prepared {
    /// What `time` decides, `(batch, n·width)` each, if it was prepared.
    pub fn at(&self, time: f64) -> Result<Option<Modulations>> {
        let Some(row) = self.times.iter().position(|known| known.to_bits() == time.to_bits()) else {
            return Ok(None);
        };
        let row = i64::try_from(row).map_err(Error::internal)?;
        let at = |all: &Tensor| all.f_select(0, row);
        let double = self.blocks.double.iter().map(|[text, picture]| Ok([at(text)?, at(picture)?]));
        let single = self.blocks.single.iter().map(|all| Ok(at(all)?));
        Ok(Some(Modulations {
            double: double.collect::<Result<_>>()?,
            single: single.collect::<Result<_>>()?,
            out: at(&self.blocks.out)?,
        }))
    }
}

/// `(batch, n·width)` to `n` of `(batch, 1, width)`.
pub(super) fn parts<const N: usize>(x: &Tensor) -> Result<[Tensor; N]> {
    let count = i64::try_from(N).map_err(Error::internal)?;
    let parts = x.f_unsqueeze(1)?.f_chunk(count, -1)?;
    <[Tensor; N]>::try_from(parts).map_err(|_| Error::internal("a modulation does not divide evenly"))
}

/// `(batch, tokens, width)` normed, scaled and shifted.
pub(super) fn modulated(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let scale = scale.f_add_scalar(1.0)?;
    let (rows, _, width) = scale.size3()?;
    if rows == 1 {
        // One for all pictures is what a norm has weights for, and done in one pass.
        let [scale, shift] = [&scale, shift].map(|x| x.f_reshape([width]));
        return Ok(x.f_layer_norm([width], Some(&scale?), Some(&shift?), EPS, true)?);
    }
    Ok(layer_norm(x, EPS)?.f_mul_(&scale)?.f_add_(shift)?)
}

/// What was there, and what came out times its gate, in the memory of what came out.
pub(super) fn gated(residual: &Tensor, gate: &Tensor, output: &Tensor) -> Result<Tensor> {
    Ok(residual.f_addcmul_out(output, output, gate)?)
}
