//! How strongly a picture follows its text.

use tch::{Device, Kind, Tensor};

use crate::Result;

/// Pulls the prediction away from the negative one (classifier-free guidance, Ho and Salimans 2022). `output` is
/// `(2, …)`: the negative prediction, then the positive one.
pub fn combine(output: &Tensor, scale: f64) -> Result<Tensor> {
    let negative = output.f_narrow(0, 0, 1)?;
    let positive = output.f_narrow(0, 1, 1)?;
    Ok(positive.f_sub(&negative)?.f_mul_scalar_(scale)?.f_add_(&negative)?)
}

/// The embedding of a guidance scale for networks that were distilled to be told of it
/// (`get_guidance_scale_embedding` in diffusers): `(1, dim)`.
pub fn embed(scale: f64, dim: i64) -> Result<Tensor> {
    let half = dim / 2;
    #[expect(clippy::cast_precision_loss, reason = "a width")]
    let slope = 10_000_f32.ln() / (half - 1) as f32;
    let frequencies = Tensor::f_arange(half, (Kind::Float, Device::Cpu))?.f_mul_scalar(-f64::from(slope))?.f_exp()?;
    #[expect(clippy::cast_possible_truncation, reason = "diffusers makes a tensor in single precision of it")]
    let angles = frequencies.f_mul_scalar(f64::from((scale - 1.0) as f32 * 1000.0))?;
    let embedding = Tensor::f_cat(&[angles.f_sin()?, angles.f_cos()?], 0)?;
    let padded = if dim % 2 == 0 { embedding } else { embedding.f_constant_pad_nd([0, 1])? };
    Ok(padded.f_unsqueeze(0)?)
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::{combine, embed};

    #[test]
    fn one_is_the_positive_prediction_and_two_goes_beyond() {
        let both = Tensor::from_slice(&[1.0_f32, 3.0]).view([2, 1]);
        assert_eq!(combine(&both, 1.0).unwrap(), Tensor::from_slice(&[3.0_f32]).view([1, 1]));
        assert_eq!(combine(&both, 2.0).unwrap(), Tensor::from_slice(&[5.0_f32]).view([1, 1]));
    }

    #[test]
    fn a_scale_of_one_embeds_as_zero() {
        let embedding = Vec::<f32>::try_from(embed(1.0, 5).unwrap().view(-1)).unwrap();
        assert_eq!(embedding, [0.0, 0.0, 1.0, 1.0, 0.0]);
    }
}
