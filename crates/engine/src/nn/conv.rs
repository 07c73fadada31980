//! Convolutions over `(batch, channels, height, width)`.

use tch::Tensor;

use crate::Result;
use crate::weights::{Scope, Weight};

/// A square convolution with a bias.
#[derive(Debug)]
pub struct Conv2d {
    weight: Weight,
    bias: Weight,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// From `weight` and `bias` of the scope, keeping the picture's size: padded by half the (odd) side.
    pub fn open(scope: &Scope<'_>, inputs: i64, outputs: i64, side: i64) -> Result<Self> {
        Self::open_strided(scope, inputs, outputs, side, 1, (side - 1) / 2)
    }

    /// From `weight` and `bias` of the scope.
    pub fn open_strided(
        scope: &Scope<'_>,
        inputs: i64,
        outputs: i64,
        side: i64,
        stride: i64,
        padding: i64,
    ) -> Result<Self> {
        let weight = scope.tensor("weight", &[outputs, inputs, side, side])?;
        let bias = scope.tensor("bias", &[outputs])?;
        Ok(Self { weight, bias, stride, padding })
    }

    /// `(batch, inputs, h, w)` to `(batch, outputs, h', w')`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&self.weight, Some(&*self.bias), stride, padding, [1, 1], 1)?)
    }
}

/// Doubles the picture, or makes it `size` (height, width), by repeating the nearest pixel.
pub fn upsample_nearest(x: &Tensor, size: Option<(i64, i64)>) -> Result<Tensor> {
    if let Some((height, width)) = size {
        return Ok(x.f_upsample_nearest2d([height, width], None, None)?);
    }
    let (_, _, height, width) = x.size4()?;
    Ok(x.f_upsample_nearest2d([height * 2, width * 2], 2.0, 2.0)?)
}
