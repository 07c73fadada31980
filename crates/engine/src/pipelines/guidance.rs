//! How strongly a picture follows its text.

use tch::{Device, Kind, Tensor};

use crate::Result;

/// What is done with a prediction without the text and one with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    /// How far the prediction is pulled away from the negative one.
    pub scale: f64,
    /// How far it is brought back to the spread of the positive one, from 0 to 1.
    pub rescale: f64,
}

impl Guidance {
    /// Pulls predictions away from the negative ones (classifier-free guidance, Ho and Salimans 2022). `output` is
    /// `(2n, …)`: the negative predictions of n pictures, then the positive ones.
    pub fn combine(self, output: &Tensor) -> Result<Tensor> {
        let pictures = output.size().first().copied().unwrap_or_default() / 2;
        let negative = output.f_narrow(0, 0, pictures)?;
        let positive = output.f_narrow(0, pictures, pictures)?;
        let guided = positive.f_sub(&negative)?.f_mul_scalar_(self.scale)?.f_add_(&negative)?;
        if self.rescale > 0.0 { self.bring_back(&guided, &positive) } else { Ok(guided) }
    }

    /// Lin et al. 2023 (arXiv:2305.08891), 3.4: each picture's prediction gets the spread of the positive one, and what
    /// comes of that is mixed with it.
    fn bring_back(self, guided: &Tensor, positive: &Tensor) -> Result<Tensor> {
        let axes: Vec<i64> = (1..).zip(guided.size().iter().skip(1)).map(|(axis, _)| axis).collect();
        let spread = |prediction: &Tensor| prediction.f_std_dim(axes.as_slice(), true, true);
        let rescaled = guided.f_mul(&spread(positive)?.f_div(&spread(guided)?)?)?;
        Ok(rescaled.f_mul_scalar(self.rescale)?.f_add(&guided.f_mul_scalar(1.0 - self.rescale)?)?)
    }
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

    use super::{Guidance, embed};

    fn combine(scale: f64, rescale: f64, values: &[f32], shape: [i64; 2]) -> Vec<f32> {
        let both = Tensor::from_slice(values).view(shape);
        Vec::try_from(Guidance { scale, rescale }.combine(&both).unwrap().view(-1)).unwrap()
    }

    #[test]
    fn one_is_the_positive_prediction_and_two_goes_beyond() {
        assert_eq!(combine(1.0, 0.0, &[1.0, 3.0], [2, 1]), [3.0]);
        assert_eq!(combine(2.0, 0.0, &[1.0, 3.0], [2, 1]), [5.0]);
    }

    #[test]
    fn every_picture_is_guided_by_its_own() {
        assert_eq!(combine(2.0, 0.0, &[1.0, 10.0, 3.0, 40.0], [4, 1]), [5.0, 70.0]);
    }

    #[test]
    fn rescaled_wholly_the_spread_is_that_of_the_positive_prediction() {
        let (guided, half) =
            (combine(3.0, 1.0, &[0.0, 0.0, 1.0, 3.0], [2, 2]), combine(3.0, 0.5, &[0.0, 0.0, 1.0, 3.0], [2, 2]));
        assert_eq!((guided, half), (vec![1.0, 3.0], vec![2.0, 6.0]));
    }

    #[test]
    fn a_scale_of_one_embeds_as_zero() {
        let embedding = Vec::<f32>::try_from(embed(1.0, 5).unwrap().view(-1)).unwrap();
        assert_eq!(embedding, [0.0, 0.0, 1.0, 1.0, 0.0]);
    }
}
