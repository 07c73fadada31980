//! Sinusoids of timesteps and sizes (`get_timestep_embedding` in diffusers; Vaswani et al. 2017, 3.5).

use tch::{Device, Kind, Tensor};

use crate::Result;

/// Maps numbers to sines and cosines of geometrically spaced frequencies, always in single precision.
#[derive(Debug)]
pub struct Sinusoid {
    frequencies: Tensor,
    dim: i64,
    cosines_first: bool,
}

impl Sinusoid {
    const LONGEST_PERIOD: f64 = 10_000.0;

    /// `dim` outputs for a number; `shift` is subtracted from the number of frequencies before dividing by it.
    pub fn new(dim: i64, cosines_first: bool, shift: f64, device: Device) -> Result<Self> {
        let half = dim / 2;
        #[expect(clippy::cast_precision_loss, reason = "a width")]
        let divisor = half as f64 - shift;
        let exponents = Tensor::f_arange(half, (Kind::Float, device))?
            .f_mul_scalar(-Self::LONGEST_PERIOD.ln())?
            .f_div_scalar(divisor)?;
        Ok(Self { frequencies: exponents.f_exp()?.f_unsqueeze(0)?, dim, cosines_first })
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.frequencies.device()
    }

    /// `(n)` to `(n, dim)`, both single precision.
    pub fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let angles = values.f_totype(Kind::Float)?.f_unsqueeze(1)?.f_mul(&self.frequencies)?;
        let (sines, cosines) = (angles.f_sin()?, angles.f_cos()?);
        let pair = if self.cosines_first { [cosines, sines] } else { [sines, cosines] };
        let embedding = Tensor::f_cat(&pair, -1)?;
        if self.dim % 2 == 0 { Ok(embedding) } else { Ok(embedding.f_constant_pad_nd([0, 1])?) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor};

    use super::Sinusoid;

    fn values(sinusoid: &Sinusoid, of: f32) -> Vec<f32> {
        let embedding = sinusoid.forward(&Tensor::from_slice(&[of])).unwrap();
        Vec::try_from(embedding.flatten(0, -1)).unwrap()
    }

    #[test]
    fn order_shift_and_padding() {
        let close = |a: Vec<f32>, b: &[f64]| {
            assert_eq!(a.len(), b.len());
            for (a, b) in a.iter().zip(b) {
                assert!((f64::from(*a) - b).abs() < 1e-6, "{a} instead of {b}");
            }
        };
        let (w0, w1) = (3.0_f64, 3.0 * 10_000_f64.powf(-0.5));
        let cosines_first = Sinusoid::new(4, true, 0.0, Device::Cpu).unwrap();
        close(values(&cosines_first, 3.0), &[w0.cos(), w1.cos(), w0.sin(), w1.sin()]);
        let sines_first = Sinusoid::new(5, false, 1.0, Device::Cpu).unwrap();
        let w1 = 3.0 / 10_000.0;
        close(values(&sines_first, 3.0), &[w0.sin(), f64::sin(w1), w0.cos(), f64::cos(w1), 0.0]);
    }
}
