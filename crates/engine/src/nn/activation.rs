//! What activations compute.

use std::f64::consts::PI;

use tch::{Kind, Tensor};
use torch_shim::kernels;

use super::{fits_one_pass, is_large};
use crate::config::Activation;
use crate::{Error, Result};

impl Activation {
    /// Applies it to a tensor that nobody else uses, in its own memory where that can be, and with the strides of memory
    /// of its own: which kernel meets it next depends on them, and in diffusers an activation is a tensor of its own.
    pub fn apply(self, mut x: Tensor) -> Result<Tensor> {
        let applied = match self {
            Self::Silu => x.f_silu_()?,
            Self::Mish => x.f_mish_()?,
            Self::Gelu => x.f_gelu_("none")?,
            Self::GeluTanh if is_ours(&x) => {
                kernels::gelu_tanh_in_place(&mut x)?;
                x
            }
            Self::GeluTanh => x.f_gelu_("tanh")?,
            // In half precision every stage would round; there the kernel that keeps them in single is nearer.
            Self::GeluNew if x.f_kind()? != Kind::Float => x.f_gelu_("tanh")?,
            Self::GeluNew => {
                let cubic = x.f_pow_tensor_scalar(3.0)?.f_mul_scalar_(0.044_715)?.f_add_(&x)?;
                let mut gate = cubic.f_mul_scalar((2.0 / PI).sqrt())?.f_tanh_()?.f_add_scalar_(1.0)?;
                gate.f_mul_(&x.f_mul_scalar_(0.5)?)?
            }
            Self::Relu => x.f_relu_()?,
            Self::QuickGelu => {
                let gate = x.f_mul_scalar(1.702)?.f_sigmoid_()?;
                x.f_mul_(&gate)?
            }
        };
        in_order(applied)
    }
}

/// The same numbers with strides that say how they lie where they say it two ways: along an axis of one, any stride is true,
/// and libtorch takes a picture of one channel or one pixel for channels-last by it.
fn in_order(x: Tensor) -> Result<Tensor> {
    if !x.is_contiguous() {
        return Ok(x);
    }
    let shape = x.size();
    let mut strides = vec![1; shape.len()];
    let mut elements = 1;
    for (stride, &n) in strides.iter_mut().zip(&shape).rev() {
        *stride = elements;
        elements *= n.max(1);
    }
    if x.stride() == strides { Ok(x) } else { Ok(x.f_as_strided(&shape, &strides, None)?) }
}

/// [`Activation::GeluTanh`] of `x`, written to `out`, of the same shape.
pub fn gelu_tanh_into(x: &Tensor, out: &mut Tensor) -> Result<()> {
    if is_ours(x) {
        kernels::gelu_tanh(x, out)?;
    } else if is_large_inside(x) {
        let _ = x.f_gelu_out(out, "tanh")?;
    } else {
        // Where rows lie apart, libtorch rounds their ends otherwise.
        out.f_copy_(&x.f_contiguous()?.f_gelu("tanh")?)?;
    }
    Ok(())
}

/// Whether the kernel of our own computes [`Activation::GeluTanh`].
fn is_ours(x: &Tensor) -> bool {
    kernels::takes(x) && is_large_inside(x)
}

/// [`is_large`] of the inside of a feed-forward layer, four times as wide as its model.
fn is_large_inside(x: &Tensor) -> bool {
    x.size().last().is_some_and(|&inner| is_large(x, inner / 4))
}

/// The first half of the last dimension times [`Activation::Gelu`] of the second: `(batch, …, 2·width)` to
/// `(batch, …, width)`.
pub fn gated_gelu(both: &Tensor) -> Result<Tensor> {
    let mut shape = both.size();
    let last = shape.last_mut().ok_or_else(|| Error::internal("a number has no gate"))?;
    let width = *last / 2;
    *last = width;
    // A gated layer is four times as wide as what it is told.
    if !fits_one_pass(both, width / 4) {
        let (value, gate) = (both.f_narrow(-1, 0, width)?, both.f_narrow(-1, width, width)?);
        return Ok(gate.f_gelu("none")?.f_mul_(&value)?);
    }
    let out = Tensor::f_empty(shape.as_slice(), (both.f_kind()?, both.device()))?;
    kernels::gated_gelu(&both.f_view([-1, 2 * width])?, &mut out.f_view([-1, width])?)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::{gated_gelu, gelu_tanh_into};
    use crate::config::Activation;

    /// References computed with PyTorch 2.11 in double precision.
    #[test]
    fn values_at_minus_one_and_a_half() {
        for (activation, expected) in [
            (Activation::Silu, -0.273_638_286),
            (Activation::Mish, -0.298_099_742),
            (Activation::Gelu, -0.100_210_802),
            (Activation::GeluTanh, -0.100_428_423),
            (Activation::GeluNew, -0.100_428_423),
            (Activation::Relu, 0.0),
            (Activation::QuickGelu, -0.108_337_802),
        ] {
            let y = activation.apply(Tensor::from_slice(&[-1.5_f32])).unwrap().double_value(&[0]);
            assert!((y - expected).abs() < 2e-6, "{activation:?}: {y} instead of {expected}");
        }
    }

    /// As PyTorch's `silu` out of place leaves them, for one channel, one pixel, and pictures that lie only one way.
    #[test]
    fn strides_are_those_of_a_tensor_of_its_own() {
        for (shape, strides, expected) in [
            ([1, 1, 8, 8], [64, 1, 8, 1], [64, 64, 8, 1]),
            ([2, 4, 1, 1], [4, 1, 4, 4], [4, 1, 1, 1]),
            ([1, 4, 8, 8], [256, 1, 32, 4], [256, 1, 32, 4]),
            ([1, 4, 8, 8], [256, 64, 8, 1], [256, 64, 8, 1]),
        ] {
            let x = Tensor::from_slice(&[-1.5_f32; 256]).f_as_strided(shape, strides, None).unwrap();
            for activation in [Activation::Silu, Activation::Mish, Activation::Gelu, Activation::Relu] {
                let y = activation.apply(x.copy().f_as_strided(shape, strides, None).unwrap()).unwrap();
                assert_eq!(
                    (y.size(), y.stride()),
                    (shape.to_vec(), expected.to_vec()),
                    "{activation:?} of {strides:?}"
                );
            }
        }
    }

    /// Rows that lie apart, into rows that do: small ones as libtorch has those that lie whole in memory.
    #[test]
    fn gelu_is_written_beside_something_else() {
        let noise = torch_shim::Generator::new(8).unwrap().randn(&[2, 300, 600]).unwrap();
        for (tokens, width, kind) in [(9, 21, Kind::Float), (300, 512, Kind::Float), (300, 512, Kind::BFloat16)] {
            let x = noise.to_kind(kind).narrow(1, 0, tokens).narrow(2, 5, width);
            let both = Tensor::zeros([2, tokens, width + 7], (kind, x.device()));
            gelu_tanh_into(&x, &mut both.narrow(2, 7, width)).unwrap();
            let found = both.narrow(2, 7, width).to_kind(Kind::Double);
            let limit = if kind == Kind::Float { 1e-6 } else { 2e-2 };
            let off = (&found - x.to_kind(Kind::Double).gelu("tanh")).abs().max().double_value(&[]);
            assert!(off < limit, "{kind:?} {tokens}: {off:e}");
            let whole = x.contiguous().gelu("tanh").to_kind(Kind::Double);
            assert!(tokens != 9 || found == whole);
            assert_eq!(both.narrow(2, 0, 7), Tensor::zeros([2, tokens, 7], (kind, x.device())));
        }
    }

    /// Large, small, and of rows that do not lie whole in memory.
    #[test]
    fn a_gate_is_gelu_of_the_second_half() {
        let wide = torch_shim::Generator::new(3).unwrap().randn(&[2, 140, 1100]).unwrap();
        for both in [wide.shallow_clone(), wide.narrow(1, 0, 7), wide.narrow(2, 3, 1030)] {
            let width = both.size()[2] / 2;
            let halves = [0, width].map(|first| both.narrow(2, first, width).to_kind(Kind::Double));
            let ours = gated_gelu(&both).unwrap();
            let off = (ours.to_kind(Kind::Double) - &halves[0] * halves[1].gelu("none")).abs().max().double_value(&[]);
            assert!(off < 2e-6 && ours.is_contiguous(), "{width}: {off:e}");
            assert_eq!(gated_gelu(&both.narrow(0, 1, 1)).unwrap(), ours.narrow(0, 1, 1));
        }
    }
}
