//! The noise of a Brownian motion, as torchsde draws it from a seed. It knows no schedule.

use tch::Tensor;

use super::noise::unit_noise;
use crate::schedulers::{Piece, Tree};
use crate::{Error, Result};

/// The increment of the motion from one time to another over the root of the time between: unit noise, single precision, on
/// the CPU. What `BrownianTreeNoiseSampler` of diffusers gives for going down in sigma.
pub fn unit_increment(tree: &Tree, from: f64, to: f64, shape: &[i64]) -> Result<Tensor> {
    let (seed, scale) = tree.whole_noise();
    let whole = unit_noise(seed, shape)?.f_mul_scalar(scale)?;
    let stretch = tree.stretch(from, to);
    let mut sum = None;
    add(tree, tree.whole(), &whole, stretch, &mut sum)?;
    let sum = sum.ok_or_else(|| Error::internal("a step of the schedule takes no time"))?;
    let sign = if from > to { -1.0 } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, reason = "diffusers counts the time in single precision")]
    let root = (to as f32 - from as f32).abs().sqrt();
    Ok(sum.f_mul_scalar(sign)?.f_div_scalar(f64::from(root))?)
}

/// Adds the pieces of a stretch that lie within `piece`, in order.
fn add(tree: &Tree, piece: Piece, value: &Tensor, stretch: (f64, f64), sum: &mut Option<Tensor>) -> Result<()> {
    if piece.is(stretch) || piece.is_atom() {
        *sum = Some(match sum.take() {
            None => value.shallow_clone(),
            Some(sum) => sum.f_add(value)?,
        });
        return Ok(());
    }
    let split = tree.split(piece);
    let mean = value.f_mul_scalar(split.left_length)?.f_mul_scalar(split.per_length)?;
    let left = mean.f_add(&unit_noise(split.seed, &value.size())?.f_mul_scalar(split.deviation)?)?;
    let [first, second] = split.halves;
    if let Some(part) = first.part(stretch) {
        add(tree, first, &left, part, sum)?;
    }
    if let Some(part) = second.part(stretch) {
        add(tree, second, &value.f_sub(&left)?, part, sum)?;
    }
    Ok(())
}
