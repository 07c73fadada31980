//! Normalisations.

use tch::Tensor;

use crate::weights::{Scope, Weight};
use crate::{Error, Result};

/// Normalises groups of channels over the picture.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Weight,
    bias: Weight,
    groups: i64,
    eps: f64,
}

impl GroupNorm {
    /// From `weight` and `bias` of the scope.
    pub fn open(scope: &Scope<'_>, groups: i64, channels: i64, eps: f64) -> Result<Self> {
        if channels % groups != 0 {
            let place = scope.place();
            return Err(Error::broken(format!("{place}: {groups} groups do not divide {channels} channels")));
        }
        let weight = scope.tensor("weight", &[channels])?;
        Ok(Self { weight, bias: scope.tensor("bias", &[channels])?, groups, eps })
    }

    /// `(batch, channels, …)` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_group_norm(self.groups, Some(&*self.weight), Some(&*self.bias), self.eps, true)?)
    }
}

/// Normalises the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Weight,
    bias: Weight,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    /// From `weight` and `bias` of the scope.
    pub fn open(scope: &Scope<'_>, width: i64, eps: f64) -> Result<Self> {
        let weight = scope.tensor("weight", &[width])?;
        Ok(Self { weight, bias: scope.tensor("bias", &[width])?, width, eps })
    }

    /// `(…, width)` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm([self.width], Some(&*self.weight), Some(&*self.bias), self.eps, true)?)
    }
}

/// Scales the last dimension to a mean square of one (Zhang and Sennrich 2019), in single precision whatever comes in.
#[derive(Debug)]
pub struct RmsNorm {
    weight: Weight,
    width: i64,
    eps: f64,
}

impl RmsNorm {
    /// From `weight` of the scope.
    pub fn open(scope: &Scope<'_>, width: i64, eps: f64) -> Result<Self> {
        Ok(Self { weight: scope.tensor("weight", &[width])?, width, eps })
    }

    /// From what is at hand: `(width)`.
    #[cfg(test)]
    pub(super) fn of(weight: Tensor, eps: f64) -> Self {
        let width = weight.numel().try_into().unwrap_or_default();
        Self { weight: Weight::own(weight), width, eps }
    }

    /// What it multiplies with, `(width)`, and what it adds to the mean square.
    pub(super) fn terms(&self) -> (&Tensor, f64) {
        (&self.weight, self.eps)
    }

    /// `(…, width)` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_rms_norm([self.width], Some(&*self.weight), self.eps)?)
    }
}

/// Normalises the last dimension without weights of its own.
pub fn layer_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.size().last().copied().unwrap_or_default();
    Ok(x.f_layer_norm::<&Tensor>([width], None, None, eps, true)?)
}
