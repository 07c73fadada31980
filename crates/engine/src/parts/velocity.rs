//! Whether a Stable Diffusion 2 predicts velocity or noise, which no name and no shape tells.

use tch::{Device, Kind};

use super::{Part, PartTensor};
use crate::Result;
use crate::weights::WeightMap;

/// The bias of a norm near the end of the network, which training for velocity spreads wider.
const TOLD_BY: &str = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
/// The spread between the two: 0.05 for those that predict noise, 0.13 for those that predict velocity.
const BETWEEN: f64 = 0.09;

/// Of these tensors of its UNet. One that does not tell counts as the model of 768 pixels, which predicts velocity; so
/// diffusers takes every Stable Diffusion 2.
pub(super) fn of_stable_diffusion_2(unet: &[PartTensor]) -> Result<bool> {
    let Some(tensor) = unet.iter().find(|tensor| tensor.name == TOLD_BY) else {
        return Ok(true);
    };
    let shape: Vec<i64> = tensor.shape().iter().filter_map(|&n| i64::try_from(n).ok()).collect();
    let part = Part::new("unet", "", serde_json::Map::new(), vec![tensor.clone()]);
    let weights = WeightMap::of(&part, Device::Cpu, Kind::Double)?;
    let spread = weights.root().tensor(TOLD_BY, &shape)?.f_std(true)?.f_double_value(&[])?;
    // All zeros is a file of a test, or of nothing yet.
    Ok(!(spread > 0.0 && spread <= BETWEEN))
}
