//! A picture in tiles that overlap and are faded into each other, so that the memory for a large picture is that of a
//! tile (`tiled_decode` and `tiled_encode` of diffusers). A tile does not see beyond its edges, so the result is another one.

use tch::{Device, Kind, Tensor};

use super::Between;
use crate::Result;
use crate::config::VaeConfig;

/// In which tiles a VAE works on pictures that are larger than one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiling {
    /// Side of a tile, in pixels.
    pub tile: i64,
    /// How much of a tile lies over the next one, from 0 to below 1.
    pub overlap: f64,
}

impl Tiling {
    /// As diffusers has it: tiles of the size that the VAE was made for, a quarter of each over the next.
    pub fn of(config: &VaeConfig) -> Self {
        Self { tile: config.sample_size, overlap: 0.25 }
    }
}

/// Tiles of one picture, or of its latents. They begin at whole latents, whatever was asked for: between them nothing could
/// be put together again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiles {
    /// Side of what goes in.
    side: i64,
    /// From one tile to the next, in what goes in.
    stride: i64,
    /// How much fades, in what comes out.
    fade: i64,
    /// How much of each tile stays, in what comes out.
    kept: i64,
}

impl Tiles {
    /// The tiles of latents that are decoded; `None` where they fit into one.
    pub(super) fn of_latents(tiling: Tiling, config: &VaeConfig, latents: &Tensor) -> Option<Self> {
        Self::of(tiling, config, 1, i64::from(config.scale_factor())).filter(|tiles| tiles.divide(latents))
    }

    /// The tiles of a picture that is encoded; `None` where it fits into one.
    pub(super) fn of_picture(tiling: Tiling, config: &VaeConfig, picture: &Tensor) -> Option<Self> {
        Self::of(tiling, config, i64::from(config.scale_factor()), 1).filter(|tiles| tiles.divide(picture))
    }

    /// `input` and `output` are what a latent counts, in what goes in and in what comes out.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sides; rounded down as in diffusers"
    )]
    fn of(tiling: Tiling, config: &VaeConfig, input: i64, output: i64) -> Option<Self> {
        let side = tiling.tile / i64::from(config.scale_factor());
        let stride = (side as f64 * (1.0 - tiling.overlap)) as i64;
        let is_sound = side > 0 && stride > 0 && stride <= side;
        is_sound.then_some(Self {
            side: side * input,
            stride: stride * input,
            fade: (side - stride) * output,
            kept: stride * output,
        })
    }

    fn divide(&self, input: &Tensor) -> bool {
        matches!(input.size().as_slice(), [_, _, height, width] if (*height).max(*width) > self.side)
    }

    /// Works on one tile after the other. Of the row before, only what is faded in is kept.
    pub(super) fn map(
        &self,
        input: &Tensor,
        between: &mut Between<'_>,
        mut work: impl FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let (_, _, height, width) = input.size4()?;
        let mut rows = Vec::new();
        let mut above: Vec<Tensor> = Vec::new();
        for y in (0..height).step_by(usize::try_from(self.stride).unwrap_or(1)) {
            let (mut row, mut edges) = (Vec::new(), Vec::new());
            let mut left: Option<Tensor> = None;
            for (i, x) in (0..width).step_by(usize::try_from(self.stride).unwrap_or(1)).enumerate() {
                between()?;
                let tile = input.f_narrow(2, y, self.side.min(height - y))?.f_narrow(3, x, self.side.min(width - x))?;
                let mut made = work(&tile)?;
                if let Some(above) = above.get(i) {
                    made = fade(above, &made, 2, self.fade)?;
                }
                if let Some(left) = &left {
                    made = fade(left, &made, 3, self.fade)?;
                }
                let (_, _, rows, columns) = made.size4()?;
                row.push(
                    made.f_narrow(2, 0, self.kept.min(rows))?.f_narrow(3, 0, self.kept.min(columns))?.f_contiguous()?,
                );
                // Copies, or the whole tile would stay.
                edges.push(end(&made, 2, self.fade)?.copy());
                left = Some(end(&made, 3, self.fade)?.copy());
            }
            above = edges;
            rows.push(Tensor::f_cat(&row, 3)?);
        }
        Ok(Tensor::f_cat(&rows, 2)?)
    }
}

/// The last `length` along an axis.
fn end(tile: &Tensor, axis: i64, length: i64) -> Result<Tensor> {
    let size = tile.size().get(usize::try_from(axis).unwrap_or_default()).copied().unwrap_or_default();
    let length = length.min(size);
    Ok(tile.f_narrow(axis, size - length, length)?)
}

/// `after` with its beginning along an axis faded in over the end of `before`.
fn fade(before: &Tensor, after: &Tensor, axis: i64, length: i64) -> Result<Tensor> {
    let at = usize::try_from(axis).unwrap_or_default();
    let size = |tile: &Tensor| tile.size().get(at).copied().unwrap_or_default();
    let length = length.min(size(before)).min(size(after));
    if length == 0 {
        return Ok(after.shallow_clone());
    }
    let mut shape = [1; 4];
    if let Some(along) = shape.get_mut(at) {
        *along = length;
    }
    // In double precision first: one minus a share is not the same in single.
    #[expect(clippy::cast_precision_loss, reason = "sides")]
    let new = Tensor::f_arange(length, (Kind::Double, Device::Cpu))?.f_div_scalar(length as f64)?;
    let old = new.f_neg()?.f_add_scalar(1.0)?;
    let [old, new] = [old, new].map(|share| {
        Ok::<_, crate::Error>(share.f_to_device_(after.device(), after.f_kind()?, false, false)?.f_view(shape)?)
    });
    let (old, new) = (old?, new?);
    let begin = after.f_narrow(axis, 0, length)?;
    let faded = end(before, axis, length)?.f_mul(&old)?.f_add(&begin.f_mul(&new)?)?;
    let rest = after.f_narrow(axis, length, size(after) - length)?;
    Ok(Tensor::f_cat(&[faded, rest], axis)?)
}

/// `work` for each picture of a batch by itself.
pub(super) fn each_picture(batch: &Tensor, mut work: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let count = batch.size().first().copied().unwrap_or_default();
    if count == 1 {
        return work(batch);
    }
    let made = (0..count).map(|i| work(&batch.f_narrow(0, i, 1)?)).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_cat(&made, 0)?)
}
