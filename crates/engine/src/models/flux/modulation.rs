//! Scales, shifts and gates that time decides (`AdaLayerNormZero` and its kin in diffusers). They are a quarter of the
//! weights, and all that is ever multiplied by them is one row for each time: so, where pictures are large, they are computed
//! for many times at once, and kept.

use tch::Tensor;

use super::EPS;
use crate::nn::{is_large, layer_norm};
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
    if rows == 1 && is_large(x, width) {
        // One for all pictures is what a norm has weights for, and done in one pass.
        let [scale, shift] = [&scale, shift].map(|x| x.f_reshape([width]));
        return Ok(x.f_layer_norm([width], Some(&scale?), Some(&shift?), EPS, true)?);
    }
    Ok(layer_norm(x, EPS)?.f_mul_(&scale)?.f_add_(shift)?)
}

/// What was there, and what came out times its gate, in the memory of what came out.
pub(super) fn gated(residual: &Tensor, gate: &Tensor, mut output: Tensor) -> Result<Tensor> {
    if is_large(&output, gate.size3()?.2) {
        // In one pass, which does not round the product.
        return Ok(residual.f_addcmul_out(&output, &output, gate)?);
    }
    Ok(output.f_mul_(gate)?.f_add_(residual)?)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{EPS, Modulations, Prepared, gated, modulated};

    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn each_time_has_its_own() {
        let rows = |offset: i64| Tensor::arange(6, FLOAT).view([3, 2, 1]) + offset;
        let blocks = Modulations { double: vec![[rows(0), rows(10)]], single: vec![rows(20)], out: rows(30) };
        let prepared = Prepared { times: vec![1.0, 0.5, 0.25], blocks };
        let found = prepared.at(0.5).unwrap().unwrap();
        let [[text, picture]] = <[_; 1]>::try_from(found.double).unwrap();
        for (found, first) in [(&text, 2.0), (&picture, 12.0), (&found.single[0], 22.0), (&found.out, 32.0)] {
            assert_eq!((found.size(), found.double_value(&[0, 0])), (vec![2, 1], first));
        }
        assert!(prepared.at(0.75).unwrap().is_none());
    }

    /// Large, and small as diffusers does it, for a picture each and for all pictures.
    #[test]
    fn what_is_normed_is_scaled_and_shifted_and_what_comes_out_has_a_gate() {
        let mut noise = torch_shim::Generator::new(7).unwrap();
        for (tokens, rows) in [(1100, 1), (1100, 2), (5, 1), (5, 2)] {
            let mut of = |tokens: i64, pictures: i64| noise.randn(&[pictures, tokens, 128]).unwrap();
            let (x, output, [scale, shift, gate]) = (of(tokens, 2), of(tokens, 2), [(); 3].map(|()| of(1, rows)));
            let double = |x: &Tensor| x.to_kind(Kind::Double);
            let off = |ours: &Tensor, expected: &Tensor| (double(ours) - expected).abs().max().double_value(&[]);

            let normed = double(&x).layer_norm([128], None::<&Tensor>, None::<&Tensor>, EPS, true);
            let expected = normed * (double(&scale) + 1.0) + double(&shift);
            let ours = modulated(&x, &scale, &shift).unwrap();
            let found = off(&ours, &expected);
            assert!(found < 1e-5, "{tokens}, {rows}: {found:e}");
            let normed = x.layer_norm([128], None::<&Tensor>, None::<&Tensor>, EPS, true);
            assert_eq!(ours == normed * (&scale + 1.0) + &shift, tokens == 5 || rows == 2, "{tokens}, {rows}");

            let expected = double(&x) + double(&gate) * double(&output);
            let plain = &x + &gate * &output;
            let ours = gated(&x, &gate, output).unwrap();
            let found = off(&ours, &expected);
            assert!(found < 1e-5, "{tokens}, {rows}: {found:e}");
            assert_eq!(ours == plain, tokens == 5, "{tokens}, {rows}");
        }
    }
}
