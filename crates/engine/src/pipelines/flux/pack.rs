//! Between latents as a picture and latents as patches: two by two of them, channel by channel, make a patch.

use tch::Tensor;

use crate::Result;

/// `(1, channels, 2·rows, 2·columns)` to `(1, rows·columns, 4·channels)`.
pub(super) fn pack(latents: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = latents.size4()?;
    let patches = latents.f_view([batch, channels, height / 2, 2, width / 2, 2])?.f_permute([0, 2, 4, 1, 3, 5])?;
    Ok(patches.f_reshape([batch, (height / 2) * (width / 2), channels * 4])?)
}

/// The other way round.
pub(super) fn unpack(patches: &Tensor, (rows, columns): (i64, i64)) -> Result<Tensor> {
    let (batch, _, numbers) = patches.size3()?;
    let latents = patches.f_view([batch, rows, columns, numbers / 4, 2, 2])?.f_permute([0, 3, 1, 4, 2, 5])?;
    Ok(latents.f_reshape([batch, numbers / 4, rows * 2, columns * 2])?)
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::{pack, unpack};

    #[test]
    fn patches_hold_their_channels_one_after_the_other() {
        let latents = Tensor::arange(2 * 2 * 4, (Kind::Float, tch::Device::Cpu)).view([1, 2, 2, 4]);
        let patches = pack(&latents).unwrap();
        assert_eq!(patches.size(), [1, 2, 8]);
        let first = Vec::<f32>::try_from(patches.narrow(1, 0, 1).flatten(0, -1)).unwrap();
        assert_eq!(first, [0.0, 1.0, 4.0, 5.0, 8.0, 9.0, 12.0, 13.0]);
        assert_eq!(unpack(&patches, (1, 2)).unwrap(), latents);
    }
}
