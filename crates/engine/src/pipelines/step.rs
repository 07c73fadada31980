//! One step of a schedule on latents, stage by stage in single precision as diffusers does it.

use tch::{Kind, Tensor};

use crate::Result;
use crate::schedulers::{Denoised, Step};

/// From latents and the network's output to the next latents, in the output's type.
pub fn apply(step: &Step, latents: &Tensor, output: &Tensor) -> Result<Tensor> {
    let sample = latents.f_totype(Kind::Float)?;
    let denoised = match step.denoised {
        Denoised::Epsilon => sample.f_sub(&output.f_mul_scalar(step.sigma)?)?,
        Denoised::Sample => output.f_totype(Kind::Float)?,
        Denoised::Velocity { scale, divisor } => output.f_mul_scalar(scale)?.f_add(&sample.f_div_scalar(divisor)?)?,
    };
    let mut derivative = sample.f_sub(&denoised)?.f_div_scalar_(step.sigma)?;
    let next = derivative.f_mul_scalar_(step.dt)?.f_add_(&sample)?;
    Ok(next.f_totype(output.f_kind()?)?)
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::apply;
    use crate::schedulers::{Denoised, Step};

    #[test]
    fn agrees_with_the_step_in_one_line() {
        let (x, output) = (Tensor::from_slice(&[0.5_f32, -2.0]), Tensor::from_slice(&[1.5_f32, 0.25]));
        let velocity = Denoised::Velocity { scale: -0.6, divisor: 1.5625 };
        for denoised in [Denoised::Epsilon, Denoised::Sample, velocity] {
            let step = Step { denoised, sigma: 0.75, dt: -0.5 };
            let (a, b) = step.coefficients();
            let next = apply(&step, &x, &output).unwrap();
            let expected = &x * a + &output * b;
            let difference = (next - expected).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{denoised:?}: {difference}");
        }
    }

    #[test]
    fn the_next_latents_have_the_networks_type() {
        let x = Tensor::from_slice(&[1.0_f32]);
        let output = x.to_kind(tch::Kind::BFloat16);
        let step = Step { denoised: Denoised::Epsilon, sigma: 1.0, dt: -1.0 };
        assert_eq!(apply(&step, &x, &output).unwrap().kind(), tch::Kind::BFloat16);
    }
}
