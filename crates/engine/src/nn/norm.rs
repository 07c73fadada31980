//! Normalisations.

use tch::Tensor;
use torch_shim::kernels;

use super::fits_one_pass;
use crate::config::Activation;
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

    /// From what is at hand: `(channels)` both.
    #[cfg(test)]
    pub(crate) fn of(weight: Tensor, bias: Tensor, groups: i64, eps: f64) -> Self {
        Self { weight: Weight::own(weight), bias: Weight::own(bias), groups, eps }
    }

    /// The norm with the sums of `x`, `(batch, channels, h, w)`, for parts of it. Nothing where numbers are not in single
    /// precision on the CPU.
    pub fn ready(&self, x: &Tensor) -> Result<Option<ReadyNorm>> {
        if ![x, &self.weight, &self.bias].into_iter().all(kernels::takes) {
            return Ok(None);
        }
        let (batch, channels, height, width) = x.size4()?;
        let mut terms = x.f_new_empty([batch, channels, 3], (x.f_kind()?, x.device()))?;
        kernels::group_norm_terms(&x.f_view([batch, channels, height * width])?, &self.kernel(), &mut terms)?;
        Ok(Some(ReadyNorm { terms }))
    }

    fn kernel(&self) -> kernels::GroupNorm<'_> {
        kernels::GroupNorm { weight: &self.weight, bias: &self.bias, groups: self.groups, eps: self.eps }
    }

    /// `(batch, channels, …)` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_group_norm(self.groups, Some(&*self.weight), Some(&*self.bias), self.eps, true)?)
    }

    /// `(batch, channels, h, w)` to the same, activated; `time`, `(batch, channels)`, is added before. In one pass over
    /// large pictures.
    pub fn activated(&self, x: &Tensor, time: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        let single = kernels::takes(&self.weight) && time.is_none_or(kernels::takes);
        if !fits_one_pass(x, x.size4()?.1) || !single || activation != Activation::Silu {
            let added = time.map(|time| x.f_add(&time.f_unsqueeze(-1)?.f_unsqueeze(-1)?)).transpose()?;
            return activation.apply(self.forward(added.as_ref().unwrap_or(x))?);
        }
        let (batch, channels, height, width) = x.size4()?;
        let flat = [batch, channels, height * width];
        let time = time.map(Tensor::f_contiguous).transpose()?;
        let mut out = Tensor::f_empty(flat, (x.f_kind()?, x.device()))?;
        kernels::group_norm(&x.f_view(flat)?, time.as_ref(), &self.kernel(), true, &mut out)?;
        Ok(out.f_view([batch, channels, height, width])?)
    }
}

/// A [`GroupNorm`] that has seen the whole picture.
#[derive(Debug)]
pub struct ReadyNorm {
    terms: Tensor,
}

impl ReadyNorm {
    /// Some rows of the picture, `(batch, channels, rows, w)`, normed as the whole would be, and activated.
    pub fn of(&self, rows: &Tensor, activation: Activation) -> Result<Tensor> {
        let (batch, channels, height, width) = rows.size4()?;
        let mut out = rows.f_new_empty([batch, channels, height * width], (rows.f_kind()?, rows.device()))?;
        let is_silu = activation == Activation::Silu;
        kernels::group_normed(&rows.f_view([batch, channels, height * width])?, &self.terms, is_silu, &mut out)?;
        let out = out.f_view([batch, channels, height, width])?;
        if is_silu { Ok(out) } else { activation.apply(out) }
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

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::{GroupNorm, fits_one_pass};
    use crate::config::Activation;
    use crate::weights::Weight;

    /// Large and small, two pictures and one of them, and what lies channels-last and so goes to libtorch.
    #[test]
    fn activated_is_the_sum_normed_and_activated() {
        let noise = |shape: &[i64]| torch_shim::Generator::new(9).unwrap().randn(shape).unwrap();
        let (weight, bias) = (noise(&[128]), noise(&[128]));
        let own = |x: &Tensor| Weight::own(x.shallow_clone());
        let norm = GroupNorm { weight: own(&weight), bias: own(&bias), groups: 8, eps: 1e-5 };
        for (side, activation) in [(37, Activation::Silu), (36, Activation::Gelu), (9, Activation::Silu)] {
            let (x, time) = (noise(&[2, 128, side, side]), noise(&[2, 128]));
            let ours = norm.activated(&x, Some(&time), activation).unwrap();
            let double = |x: &Tensor| x.to_kind(Kind::Double);
            let added = double(&x) + double(&time).unsqueeze(-1).unsqueeze(-1);
            let expected = added.group_norm(8, Some(double(&weight)), Some(double(&bias)), 1e-5, false);
            let expected = if activation == Activation::Silu { expected.silu() } else { expected.gelu("none") };
            let off = (double(&ours) - expected).abs().max().double_value(&[]);
            assert!(off < 3e-6 && ours.is_contiguous(), "{side}, {activation:?}: {off:e}");

            // libtorch's own rounds some numbers otherwise, by where a picture begins.
            if fits_one_pass(&x, 128) && activation == Activation::Silu {
                let second = |x: &Tensor| x.narrow(0, 1, 1);
                let alone = norm.activated(&second(&x), Some(&second(&time)), activation).unwrap();
                assert_eq!(alone, second(&ours));
            }
            let last = torch_shim::MemoryFormat::ChannelsLast.of(&x).unwrap();
            let libtorch = activation.apply(norm.forward(&last).unwrap()).unwrap();
            assert_eq!(norm.activated(&last, None, activation).unwrap(), libtorch);
        }
    }
}
