//! Large pictures strip by strip: what a convolution holds beside its input and output, as both in an order of its own, it
//! then holds for a strip only; every number is the one that it is for the whole. A norm before it is computed for the strip
//! too, with the sums of the whole picture.

use tch::{Device, Tensor};

use crate::Result;
use crate::config::Activation;
use crate::nn::{GroupNorm, ReadyNorm};

/// Strips of a picture. The rows at the borders of strips are computed twice.
const STRIPS: i64 = 8;

/// Numbers of the larger one of input and output from which on it is worth it.
const LARGE: i64 = 1 << 22;

/// `convolve` of `x`, `(1, channels, h, w)`, to `(1, channels', h·scale, w·scale)`. It must look no further than one row
/// beyond the one that it computes. On a GPU, and where the picture is small, it is given the whole.
pub fn in_strips(x: &Tensor, scale: i64, convolve: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if !is_large(x, scale * scale) {
        return convolve(x);
    }
    by_rows(x, scale, rows(x)?, &|strip| convolve(&strip.f_contiguous()?))
}

/// `x`, `(batch, channels, h, w)`, normed and activated: whole, or for a strip.
#[derive(Debug, Clone, Copy)]
pub struct Normed<'a> {
    /// The norm.
    pub norm: &'a GroupNorm,
    /// What follows it.
    pub activation: Activation,
}

impl Normed<'_> {
    /// `convolve` of what [`in_strips`] takes, when it is normed.
    pub fn in_strips(self, x: &Tensor, convolve: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let Some(ready) = self.ready(x)? else {
            return in_strips(&self.activation.apply(self.norm.forward(x)?)?, 1, convolve);
        };
        by_rows(x, 1, rows(x)?, &|strip| convolve(&ready.of(strip, self.activation)?))
    }

    /// The same for a convolution that keeps channels, of which `join` makes the rows of the result with the same rows of
    /// `input`. Where the picture is large, it is written to `x`, which nobody else may use.
    pub fn in_place(
        self,
        x: Tensor,
        input: &Tensor,
        convolve: impl Fn(&Tensor) -> Result<Tensor>,
        join: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let Some(ready) = self.ready(&x)? else {
            let normed = self.activation.apply(self.norm.forward(&x)?)?;
            drop(x);
            return join(input, &in_strips(&normed, 1, convolve)?);
        };
        let (height, rows) = (x.size4()?.2, rows(&x)?);
        // The row above a strip, as it was before it was written to.
        let mut above: Option<Tensor> = None;
        let mut start = 0;
        while start < height {
            let end = (start + rows).min(height);
            let below = (end + 1).min(height);
            let mut strip = x.f_narrow(2, start, below - start)?;
            if let Some(above) = &above {
                strip = Tensor::f_cat(&[above, &strip], 2)?;
            }
            let made =
                convolve(&ready.of(&strip, self.activation)?)?.f_narrow(2, i64::from(above.is_some()), end - start)?;
            above = Some(x.f_narrow(2, end - 1, 1)?.copy());
            let joined = join(&input.f_narrow(2, start, end - start)?, &made)?;
            x.f_narrow(2, start, end - start)?.f_copy_(&joined)?;
            start = end;
        }
        Ok(x)
    }

    /// The norm with the sums of a picture that is worth it.
    fn ready(self, x: &Tensor) -> Result<Option<ReadyNorm>> {
        if is_large(x, 1) { self.norm.ready(x) } else { Ok(None) }
    }
}

/// Rows of a strip.
fn rows(x: &Tensor) -> Result<i64> {
    Ok((x.size4()?.2 + STRIPS - 1) / STRIPS)
}

/// Whether it is worth it for a picture that becomes so many times as large.
fn is_large(x: &Tensor, times: i64) -> bool {
    let numbers = i64::try_from(x.numel()).unwrap_or(i64::MAX).saturating_mul(times);
    let is_one = x.size().first() == Some(&1);
    is_one && numbers >= LARGE && x.device() == Device::Cpu && x.is_contiguous()
}

fn by_rows(x: &Tensor, scale: i64, rows: i64, convolve: &impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (batch, _, height, width) = x.size4()?;
    let mut whole: Option<Tensor> = None;
    let mut start = 0;
    while start < height {
        let end = (start + rows).min(height);
        let (above, below) = ((start - 1).max(0), (end + 1).min(height));
        let strip = convolve(&x.f_narrow(2, above, below - above)?)?;
        let strip = strip.f_narrow(2, (start - above) * scale, (end - start) * scale)?;
        let made = match whole.take() {
            Some(made) => made,
            None => strip.f_new_empty(
                [batch, strip.size4()?.1, height * scale, width * scale],
                (strip.f_kind()?, strip.device()),
            )?,
        };
        made.f_narrow(2, start * scale, (end - start) * scale)?.f_copy_(&strip)?;
        whole = Some(made);
        start = end;
    }
    whole.map_or_else(|| convolve(x), Ok)
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::{Normed, by_rows, in_strips};
    use crate::config::Activation;
    use crate::nn::{GroupNorm, upsample_nearest};

    fn noise(shape: &[i64]) -> Tensor {
        torch_shim::Generator::new(5).unwrap().randn(shape).unwrap()
    }

    /// Heights that strips divide and do not, strips of a single row, and a strip as large as the picture.
    #[test]
    fn strips_give_what_the_whole_gives() {
        let (weight, bias) = (noise(&[32, 64, 3, 3]), noise(&[32]));
        let convolve = |x: &Tensor| Ok(x.f_contiguous()?.f_conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1)?);
        let doubled = |x: &Tensor| convolve(&upsample_nearest(x, None)?);
        for (height, width, rows) in [(64, 48, 8), (67, 33, 9), (40, 40, 1), (33, 65, 33), (33, 64, 100)] {
            let x = noise(&[1, 64, height, width]);
            for (scale, ours, whole) in
                [(1, by_rows(&x, 1, rows, &convolve), convolve(&x)), (2, by_rows(&x, 2, rows, &doubled), doubled(&x))]
            {
                let (ours, whole) = (ours.unwrap(), whole.unwrap());
                assert_eq!(ours.size(), whole.size());
                // The library may take another kernel for a very small strip, which rounds otherwise.
                let off = ((&ours - &whole).abs().max() / whole.abs().max()).double_value(&[]);
                let small = rows * width * 64 < 20_480;
                assert!(if small { off < 1e-6 } else { off == 0.0 }, "{height}×{width} by {rows}, {scale}: {off:e}");
            }
        }
    }

    /// A height that strips divide and one that they do not, means far from zero, and no large picture. Nearer to the whole
    /// in double precision than 1e-6, as libtorch's own is, and within 2e-7 of that.
    #[test]
    fn normed_strips_give_what_the_whole_gives() {
        let (weight, bias) = (noise(&[64]), noise(&[64]));
        let norm = GroupNorm::of(weight.copy(), bias.copy(), 32, 1e-6);
        let kernels = noise(&[64, 64, 3, 3]) / 24.0;
        let convolve = |x: &Tensor| Ok(x.f_conv2d::<&Tensor>(&kernels, None, [1, 1], [1, 1], [1, 1], 1)?);
        for (height, width, far) in [(256, 272, 0.0), (259, 256, 5.0), (16, 24, 0.0)] {
            let x = noise(&[1, 64, height, width]) + far;
            let normed = x.group_norm(32, Some(&weight), Some(&bias), 1e-6, true).silu();
            let whole = convolve(&normed).unwrap();
            let off = |ours: &Tensor, whole: &Tensor| {
                ((ours - whole).to_kind(Kind::Double).abs().max() / whole.abs().max()).double_value(&[])
            };
            let strips = Normed { norm: &norm, activation: Activation::Silu };
            let same = strips.in_strips(&x, |x| Ok(x.copy())).unwrap();
            assert!(off(&same, &normed) < 2e-7, "{height}×{width}: {:e}", off(&same, &normed));
            let ours = strips.in_strips(&x, convolve).unwrap();
            assert!(off(&ours, &whole) < 5e-7, "{height}×{width}: {:e}", off(&ours, &whole));
            let input = noise(&[1, 64, height, width]);
            let joined = strips.in_place(x, &input, convolve, |input, made| Ok(input.f_add(made)?)).unwrap();
            assert_eq!(joined, &input + ours, "{height}×{width}");
        }
    }

    #[test]
    fn only_large_pictures_are_cut() {
        let calls = std::cell::Cell::new(0);
        let count = |x: &Tensor| {
            calls.set(calls.get() + 1);
            Ok(x.f_mul_scalar(2.0)?)
        };
        let small = noise(&[1, 4, 64, 64]);
        assert_eq!(in_strips(&small, 1, count).unwrap(), &small * 2.0);
        assert_eq!(calls.take(), 1);
        let large = noise(&[1, 16, 512, 512]);
        assert_eq!(in_strips(&large, 1, count).unwrap(), &large * 2.0);
        assert_eq!(calls.take(), 8);
    }
}
