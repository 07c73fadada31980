//! Convolutions of large pictures, strip by strip: what a convolution holds beside its input and output, as both in an order
//! of its own, it then holds for a strip only. Every number is the one that it is for the whole.

use tch::{Device, Tensor};

use crate::Result;

/// Strips of a picture. The rows at their borders are computed twice.
const STRIPS: i64 = 8;

/// Numbers of the larger one of input and output from which on it is worth it.
const LARGE: i64 = 1 << 22;

/// `convolve` of `x`, `(1, channels, h, w)`, to `(1, channels', h·scale, w·scale)`. It must look no further than one row
/// beyond the one that it computes. On a GPU, and where the picture is small, it is given the whole.
pub fn in_strips(x: &Tensor, scale: i64, convolve: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (batch, channels, height, width) = x.size4()?;
    let numbers = channels.saturating_mul(height).saturating_mul(width).saturating_mul(scale * scale);
    if batch != 1 || numbers < LARGE || x.device() != Device::Cpu || !x.is_contiguous() {
        return convolve(x);
    }
    by_rows(x, scale, (height + STRIPS - 1) / STRIPS, &convolve)
}

fn by_rows(x: &Tensor, scale: i64, rows: i64, convolve: &impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (batch, _, height, width) = x.size4()?;
    let mut whole: Option<Tensor> = None;
    let mut start = 0;
    while start < height {
        let end = (start + rows).min(height);
        let (above, below) = ((start - 1).max(0), (end + 1).min(height));
        let strip = convolve(&x.f_narrow(2, above, below - above)?.f_contiguous()?)?;
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
    use tch::Tensor;

    use super::{by_rows, in_strips};
    use crate::nn::upsample_nearest;

    fn noise(shape: &[i64]) -> Tensor {
        torch_shim::Generator::new(5).unwrap().randn(shape).unwrap()
    }

    /// Heights that strips divide and do not, strips of a single row, and a strip as large as the picture.
    #[test]
    fn strips_give_what_the_whole_gives() {
        let (weight, bias) = (noise(&[32, 64, 3, 3]), noise(&[32]));
        let convolve = |x: &Tensor| Ok(x.f_conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1)?);
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
