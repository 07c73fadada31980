//! Scales, shifts and gates that time decides (`AdaLayerNormZero` and its kin in diffusers).

use tch::Tensor;

use crate::{Error, Result};

/// `(batch, n·width)` to `n` of `(batch, 1, width)`.
pub(super) fn parts<const N: usize>(x: &Tensor) -> Result<[Tensor; N]> {
    let count = i64::try_from(N).map_err(Error::internal)?;
    let parts = x.f_unsqueeze(1)?.f_chunk(count, -1)?;
    <[Tensor; N]>::try_from(parts).map_err(|_| Error::internal("a modulation does not divide evenly"))
}

/// Scales and shifts a tensor that nobody else uses.
pub(super) fn modulate(mut normed: Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    Ok(normed.f_mul_(&scale.f_add_scalar(1.0)?)?.f_add_(shift)?)
}

/// What was there, and what came out times its gate.
pub(super) fn gated(residual: &Tensor, gate: &Tensor, mut output: Tensor) -> Result<Tensor> {
    Ok(output.f_mul_(gate)?.f_add_(residual)?)
}
