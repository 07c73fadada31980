//! What libtorch computes on the CPU in several passes over memory, in one. Single precision only; whoever has another
//! type asks libtorch.
#![expect(unsafe_code, reason = "tensors are C++ objects")]

use tch::{Device, Kind, Tensor};

use crate::{Result, ffi};

/// Whether these functions take a tensor: single precision, on the CPU.
pub fn takes(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.f_kind().is_ok_and(|kind| kind == Kind::Float)
}

/// Gelu with a hyperbolic tangent of `x`, written to `out`, of the same shape.
pub fn gelu_tanh(x: &Tensor, out: &mut Tensor) -> Result<()> {
    // SAFETY: both are alive for the call; the shim checks types and shapes, and libtorch that they do not overlap in part.
    unsafe { ffi::read(ffi::easel_shim_gelu_tanh(x.as_ptr(), out.as_ptr())) }
}

/// [`gelu_tanh`] in the tensor's own memory.
pub fn gelu_tanh_in_place(x: &mut Tensor) -> Result<()> {
    // SAFETY: as above; a tensor and itself overlap as a whole.
    unsafe { ffi::read(ffi::easel_shim_gelu_tanh(x.as_ptr(), x.as_ptr())) }
}

/// Heads normed and turned, from `(batch, tokens, heads, width)` to `out` of the same shape: scaled to a mean square of one
/// (to which `eps` is added) and by `weight`, `(width)`, then pairs of neighbours turned by `turns`, `(tokens, width)`: the
/// cosines of the pairs, then the sines. The numbers of a head lie side by side in all of them.
pub fn norm_turn(x: &Tensor, weight: &Tensor, turns: &Tensor, eps: f64, out: &mut Tensor) -> Result<()> {
    let out = out.as_ptr();
    // SAFETY: all are alive for the call; the shim checks types, shapes and that heads lie side by side.
    unsafe { ffi::read(ffi::easel_shim_norm_turn(x.as_ptr(), weight.as_ptr(), turns.as_ptr(), eps, out)) }
}

#[cfg(test)]
mod tests {
    //! No tensor here reaches a mebibyte: the test of the allocator counts larger ones, whoever makes them.

    use tch::{Device, Kind, Tensor};

    use super::{gelu_tanh, gelu_tanh_in_place, norm_turn, takes};

    fn is_untouched(x: &Tensor) -> bool {
        *x == x.zeros_like()
    }

    fn difference(ours: &Tensor, theirs: &Tensor) -> f64 {
        (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double)).abs().max().double_value(&[])
    }

    #[test]
    fn gelu_is_that_of_libtorch_at_every_size_and_stride() {
        let x = Tensor::linspace(-12.0, 12.0, 100_003, (Kind::Double, Device::Cpu));
        let expected = x.gelu("tanh");
        let mut ours = x.to_kind(Kind::Float);
        gelu_tanh_in_place(&mut ours).unwrap();
        // Where it is near zero on the left, the cube's last place counts; libtorch's own is further off there.
        let scale = expected.abs().clamp_min(0.1);
        let relative = ((ours.to_kind(Kind::Double) - &expected) / scale).abs().max().double_value(&[]);
        assert!(relative < 5e-7, "{relative}");

        let wide = Tensor::randn([3, 70, 40], (Kind::Float, Device::Cpu));
        let part = wide.narrow(-1, 7, 21);
        let whole = Tensor::zeros([3, 70, 50], (Kind::Float, Device::Cpu));
        gelu_tanh(&part, &mut whole.narrow(-1, 20, 21)).unwrap();
        assert!(difference(&whole.narrow(-1, 20, 21), &part.gelu("tanh")) < 1e-6);
        assert!(is_untouched(&whole.narrow(-1, 0, 20)) && is_untouched(&whole.narrow(-1, 41, 9)));
        let mut turned = part.transpose(0, 2).copy().transpose(0, 2);
        gelu_tanh_in_place(&mut turned).unwrap();
        assert!(difference(&turned, &part.gelu("tanh")) < 1e-6);
    }

    #[test]
    fn gelu_of_what_is_far_or_no_number() {
        let mut x = Tensor::from_slice(&[1e30_f32, -1e30, f32::INFINITY, f32::NAN, 0.0, -40.0]);
        gelu_tanh_in_place(&mut x).unwrap();
        let x = Vec::<f32>::try_from(x).unwrap();
        assert_eq!((x[0], x[2], x[4]), (1e30, f32::INFINITY, 0.0));
        assert!(x[1].abs() < 1e-6 && x[3].is_nan() && x[5].abs() < 1e-30, "{x:?}");
    }

    #[test]
    fn heads_are_normed_and_turned() {
        for (batch, tokens, heads, width) in [(1, 60, 6, 128), (2, 5, 3, 24), (1, 1, 1, 2)] {
            let float = (Kind::Float, Device::Cpu);
            let wide = Tensor::randn([batch, tokens, heads * width * 3], float);
            let x = wide.narrow(-1, heads * width, heads * width).view([batch, tokens, heads, width]);
            let (weight, angles) = (Tensor::randn([width], float), Tensor::randn([tokens, width / 2], float));
            let turns = Tensor::cat(&[angles.cos(), angles.sin()], -1);
            let out = Tensor::zeros([batch, tokens + 2, heads, width], float);
            norm_turn(&x, &weight, &turns, 1e-6, &mut out.narrow(1, 1, tokens)).unwrap();

            let x = x.to_kind(Kind::Double);
            let mean = x.square().mean_dim(-1, true, Kind::Double);
            let normed = (&x / (mean + 1e-6).sqrt()) * weight.to_kind(Kind::Double);
            let pairs = normed.view([batch, tokens, heads, width / 2, 2]);
            let [cosines, sines] = [angles.cos(), angles.sin()].map(|x| x.to_kind(Kind::Double).unsqueeze(1));
            let (a, b) = (pairs.select(-1, 0), pairs.select(-1, 1));
            let turned = Tensor::stack(&[&a * &cosines - &b * &sines, &b * &cosines + &a * &sines], -1).flatten(-2, -1);
            let found = difference(&out.narrow(1, 1, tokens), &turned);
            assert!(found < 4e-6, "{width}: {found}");
            assert!([0, tokens + 1].iter().all(|edge| is_untouched(&out.narrow(1, *edge, 1))));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let float = (Kind::Float, Device::Cpu);
        let x = Tensor::randn([1, 2, 3, 4], float);
        let (weight, turns) = (Tensor::ones([4], float), Tensor::ones([2, 4], float));
        let refused = |x: &Tensor, weight: &Tensor, turns: &Tensor, out: &mut Tensor| {
            norm_turn(x, weight, turns, 1e-6, out).unwrap_err().to_string()
        };
        let mut out = x.zeros_like();
        assert!(refused(&x, &weight, &turns.narrow(0, 0, 1), &mut out).contains("all tokens"));
        assert!(refused(&x, &weight.narrow(0, 0, 2), &turns, &mut out).contains("wide"));
        assert!(refused(&x.transpose(1, 3), &weight, &turns, &mut out).contains("shape"));
        assert!(refused(&x.to_kind(Kind::Half), &weight, &turns, &mut out).contains("single precision"));
        let spread = Tensor::randn([1, 2, 4, 4], float).transpose(2, 3).narrow(2, 0, 3);
        assert!(refused(&spread, &weight, &turns, &mut out).contains("side by side"));
        let error = gelu_tanh(&x, &mut Tensor::zeros([2, 3], float)).unwrap_err().to_string();
        assert!(error.contains("shape") && !takes(&x.to_kind(Kind::Half)) && takes(&x), "{error}");
    }
}
