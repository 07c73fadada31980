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

/// What a group norm goes by.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm<'a> {
    /// `(channels)`, multiplied with.
    pub weight: &'a Tensor,
    /// `(channels)`, added.
    pub bias: &'a Tensor,
    /// Groups, all of as many channels.
    pub groups: i64,
    /// Added to the variance.
    pub eps: f64,
}

/// `(batch, channels, pixels)` with its groups of channels normed, written to `out`, of the same shape; before, `time`,
/// `(batch, channels)`, is added where there is one; after, it goes through `SiLU` if `silu`. All lie whole in memory.
pub fn group_norm(x: &Tensor, time: Option<&Tensor>, norm: &GroupNorm<'_>, silu: bool, out: &mut Tensor) -> Result<()> {
    let GroupNorm { weight, bias, groups, eps } = *norm;
    let time = time.map_or(std::ptr::null(), Tensor::as_ptr);
    let (weight, bias, out) = (weight.as_ptr(), bias.as_ptr(), out.as_ptr());
    // SAFETY: all are alive for the call, and no time is a null pointer; the shim checks types, shapes and that each lies
    // whole in memory. `out` is borrowed alone.
    unsafe { ffi::read(ffi::easel_shim_group_norm(x.as_ptr(), time, weight, bias, groups, eps, silu, out)) }
}

/// What the channels of `x`, `(batch, channels, pixels)`, go through to be normed, written to `terms`, `(batch, channels,
/// 3)`, for [`group_normed`]. All lie whole in memory.
pub fn group_norm_terms(x: &Tensor, norm: &GroupNorm<'_>, terms: &mut Tensor) -> Result<()> {
    let GroupNorm { weight, bias, groups, eps } = *norm;
    let (weight, bias, terms) = (weight.as_ptr(), bias.as_ptr(), terms.as_ptr());
    // SAFETY: all are alive for the call; the shim checks types, shapes and that each lies whole in memory. `terms` is
    // borrowed alone.
    unsafe { ffi::read(ffi::easel_shim_group_norm_terms(x.as_ptr(), weight, bias, groups, eps, terms)) }
}

/// [`group_norm`] of some of the pixels, with the terms of all: `(batch, channels, pixels)`, those of a channel side by
/// side, to `out`, of the same shape and whole in memory.
pub fn group_normed(x: &Tensor, terms: &Tensor, silu: bool, out: &mut Tensor) -> Result<()> {
    // SAFETY: all are alive for the call; the shim checks types, shapes and strides. `out` is borrowed alone.
    unsafe { ffi::read(ffi::easel_shim_group_normed(x.as_ptr(), terms.as_ptr(), silu, out.as_ptr())) }
}

/// Rows `(rows, 2·width)` to `out`, `(rows, width)`: the first half times the exact gelu of the second. Both lie whole in
/// memory.
pub fn gated_gelu(x: &Tensor, out: &mut Tensor) -> Result<()> {
    // SAFETY: both are alive for the call; the shim checks types, shapes and that each lies whole in memory.
    unsafe { ffi::read(ffi::easel_shim_gated_gelu(x.as_ptr(), out.as_ptr())) }
}

/// Whether the processor has what [`attend`] computes with.
pub fn can_attend() -> bool {
    // SAFETY: it asks the processor, nothing else.
    unsafe { ffi::easel_shim_can_attend() }
}

/// Scaled dot-product attention of everyone at everyone: queries `(batch, heads, tokens, width)` to `out` of the same shape;
/// keys and values are `(batch, heads, count, width)`. The numbers of a head lie side by side in queries and `out`.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, out: &mut Tensor) -> Result<()> {
    // SAFETY: all are alive for the call; the shim checks types, shapes, strides and the processor.
    unsafe { ffi::read(ffi::easel_shim_attend(query.as_ptr(), key.as_ptr(), value.as_ptr(), out.as_ptr())) }
}

#[cfg(test)]
mod tests {
    //! No tensor here reaches a mebibyte: the test of the allocator counts larger ones, whoever makes them.

    use tch::{Device, Kind, Tensor};

    use super::{
        GroupNorm, attend, can_attend, gated_gelu, gelu_tanh, gelu_tanh_in_place, group_norm, group_norm_terms,
        group_normed, norm_turn, takes,
    };

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
    fn groups_are_normed_with_what_is_added_before_and_done_after() {
        let float = (Kind::Float, Device::Cpu);
        for (batch, channels, groups, pixels) in [(2, 12, 4, 1500), (1, 32, 32, 7), (3, 6, 1, 333)] {
            // Far from zero, where a sum of squares alone would lose its digits.
            let x: Tensor = Tensor::randn([batch, channels, pixels], float) * 0.5 + 30.0;
            let time = Tensor::randn([batch, channels], float);
            let (weight, bias) = (Tensor::randn([channels], float), Tensor::randn([channels], float));
            let norm = GroupNorm { weight: &weight, bias: &bias, groups, eps: 1e-5 };
            for (time, silu) in [(None, false), (None, true), (Some(&time), false), (Some(&time), true)] {
                let mut out = x.zeros_like();
                group_norm(&x, time, &norm, silu, &mut out).unwrap();
                let double = |x: &Tensor| x.to_kind(Kind::Double);
                let added = time.map_or_else(|| double(&x), |time| double(&x) + double(time).unsqueeze(-1));
                let normed = added.group_norm(groups, Some(double(&weight)), Some(double(&bias)), 1e-5, false);
                let expected = if silu { normed.silu() } else { normed };
                let found = difference(&out, &expected);
                assert!(found < 5e-6, "{groups} groups of {channels}, {silu}: {found}");
                // What a picture becomes does not depend on its neighbours.
                let mut alone = x.narrow(0, 0, 1).zeros_like();
                let time = time.map(|time| time.narrow(0, 0, 1));
                group_norm(&x.narrow(0, 0, 1), time.as_ref(), &norm, silu, &mut alone).unwrap();
                assert_eq!(alone, out.narrow(0, 0, 1));
            }
            // In two parts, with the sums of the whole.
            let mut terms = Tensor::zeros([batch, channels, 3], float);
            group_norm_terms(&x, &norm, &mut terms).unwrap();
            for silu in [false, true] {
                let mut whole = x.zeros_like();
                group_norm(&x, None, &norm, silu, &mut whole).unwrap();
                for (first, count) in [(0, pixels / 3), (pixels / 3, pixels - pixels / 3)] {
                    let mut out = Tensor::zeros([batch, channels, count], float);
                    group_normed(&x.narrow(-1, first, count), &terms, silu, &mut out).unwrap();
                    let found = difference(&out, &whole.narrow(-1, first, count));
                    assert!(found < 5e-6, "{silu}: {found}");
                }
            }
            let said = |result: crate::Result<()>| result.unwrap_err().to_string();
            assert!(said(group_norm_terms(&x, &norm, &mut x.zeros_like())).contains("three of each channel"));
            assert!(said(group_normed(&x, &x, true, &mut x.zeros_like())).contains("three of each channel"));
            let refused =
                group_norm(&x.transpose(1, 2).contiguous().transpose(1, 2), None, &norm, true, &mut x.zeros_like());
            assert!(channels == 1 || pixels == 1 || refused.unwrap_err().to_string().contains("whole in memory"));
        }
    }

    #[test]
    fn a_gate_is_the_exact_gelu() {
        let gate = Tensor::linspace(-12.0, 12.0, 30 * 1003, (Kind::Double, Device::Cpu)).view([30, 1003]);
        let x = Tensor::randn([30, 1003], (Kind::Float, Device::Cpu)).clamp(-2.0, 2.0);
        let both = Tensor::cat(&[&x, &gate.to_kind(Kind::Float)], -1);
        let mut out = x.zeros_like();
        gated_gelu(&both, &mut out).unwrap();
        let gelu = both.narrow(-1, 1003, 1003).to_kind(Kind::Double).gelu("none");
        // 1.5e-7 is what the error function may be off, as in libtorch; the gate is up to twice it, and so is x.
        let scale = gelu.abs().clamp_min(1.0);
        let found = difference(&(out.to_kind(Kind::Double) / &scale), &(gelu * x.to_kind(Kind::Double) / &scale));
        assert!(found < 1e-6, "{found}");
        let far = Tensor::from_slice(&[1.0_f32, 1.0, 1.0, 1e30, -1e30, f32::NAN]).view([1, 6]);
        let mut out = Tensor::zeros([1, 3], (Kind::Float, Device::Cpu));
        gated_gelu(&far, &mut out).unwrap();
        let far = Vec::<f32>::try_from(out.view(-1)).unwrap();
        assert!(far[0] > 9e29 && far[1].abs() < 1e-6 && far[2].is_nan(), "{far:?}");
        assert!(gated_gelu(&x, &mut x.zeros_like()).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn attention_is_that_of_libtorch() {
        if !can_attend() {
            return;
        }
        let float = (Kind::Float, Device::Cpu);
        for (batch, heads, tokens, count, width) in
            [(2, 3, 97, 130, 20), (1, 2, 48, 64, 40), (1, 1, 5, 1, 3), (3, 2, 51, 77, 7), (1, 2, 200, 200, 80)]
        {
            let split = |tokens: i64, factor: f64| {
                let wide = Tensor::randn([batch, tokens, heads * width * 2], float) * factor;
                wide.narrow(-1, heads * width, heads * width).view([batch, tokens, heads, width]).transpose(1, 2)
            };
            // Scores up to some hundreds: all but the largest vanish, and which that is changes on the way.
            for factor in [1.0, 6.0] {
                let (query, key, value) = (split(tokens, factor), split(count, factor), split(count, 1.0));
                let out = Tensor::zeros([batch, tokens + 1, heads, width], float);
                let place = |from, pictures| out.narrow(1, from, tokens).narrow(0, 0, pictures).transpose(1, 2);
                attend(&query, &key, &value, &mut place(0, batch)).unwrap();
                let double = |x: &Tensor| x.to_kind(Kind::Double);
                let (k, v) = (double(&key), double(&value));
                let expected = Tensor::scaled_dot_product_attention::<&Tensor>(
                    &double(&query),
                    &k,
                    &v,
                    None,
                    0.0,
                    false,
                    None,
                    false,
                );
                let found = difference(&place(0, batch), &expected);
                assert!(found < 2e-6 * factor * factor, "{tokens}×{count} of {width}: {found}");
                assert!(is_untouched(&out.narrow(1, tokens, 1)));
                let first = |x: &Tensor| x.narrow(0, 0, 1);
                let mut alone = Tensor::zeros([1, heads, tokens, width], float);
                attend(&first(&query), &first(&key), &first(&value), &mut alone).unwrap();
                assert_eq!(alone, place(0, 1));
            }
            let (query, key) = (split(tokens, 1.0), split(count, 1.0));
            let refused = attend(&query, &key, &key.narrow(3, 0, 1), &mut query.zeros_like());
            assert!(refused.unwrap_err().to_string().contains("shape"));
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
