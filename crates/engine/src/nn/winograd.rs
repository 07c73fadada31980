//! Convolutions of side 3 in fewer products: `F(2×2, 3×3)` of Winograd's minimal filtering (Lavin and Gray 2016,
//! arXiv 1509.09308). It knows no libtorch convolution and does not decide where it is used; see [`suits`] for what it is
//! worth.
//!
//! The picture is cut into tiles of 2×2 outputs, each made of 4×4 inputs `d`. With kernels `g` turned once into
//! `U = G g Gᵀ` (4×4), a tile is `Aᵀ (U ⊙ Bᵀ d B) A`: 16 products for 4 outputs instead of 36, summed over the inputs as 16
//! products of matrices. `G`, `Bᵀ` and `Aᵀ` hold only 0, ±1 and ½, so that few
//! digits are lost: up to 1e-6 of the largest number, where oneDNN's direct sums lose 3e-7.

use tch::{Device, Kind, Tensor};

use crate::Result;

/// Numbers of a tile's 4×4 square.
const PLANES: i64 = 16;

/// `G`.
const KERNEL: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

/// Inputs and outputs from which on it is quicker, and up to which it is worth its memory. Below, oneDNN's direct
/// convolution is at the processor's limit and the planes would cost what the products save; above, real networks hold
/// gigabytes of kernels for small pictures. Up to so many inputs MKL also rounds a picture's
/// sums alike however many pictures are computed together.
const WIDTHS: std::ops::RangeInclusive<i64> = 256..=640;

/// Kernels that are turned at once when they are opened.
const OUTPUTS_AT_ONCE: i64 = 32;

/// Tiles of one picture that are computed at once, where rows of tiles allow it: 10 KiB each per hundred channels.
const TILES_AT_ONCE: i64 = 256;

/// Narrower pictures are filled up to as many tiles in a row: a matrix of one row is multiplied otherwise than several, and
/// what a picture becomes must not depend on how many there are.
const FEWEST_COLUMNS: i64 = 4;

/// Convolutions of side 3 and stride 1 that keep the picture's size.
#[derive(Debug)]
pub(super) struct Winograd {
    /// `(16, inputs, outputs)`.
    kernels: Tensor,
}

/// Whether kernels of so many inputs and outputs are to be used this way, over pictures that have many pixels for their
/// channels. They take 16/9 of the memory. On two cores with AVX-512, two pictures, packed for oneDNN and so, in ms: 640→640 at
/// 12×12 6.2 and 3.8, 320→320 at 24×24 5.7 and 4.2, but 640→640 at 6×6 1.6 and 1.4 and 160→160 at 48×48 6.3 and 13.4.
pub fn suits(inputs: i64, outputs: i64) -> bool {
    WIDTHS.contains(&inputs) && WIDTHS.contains(&outputs)
}

impl Winograd {
    /// From `(outputs, inputs, 3, 3)`, which is copied.
    pub fn of(weight: &Tensor) -> Result<Self> {
        let (outputs, inputs, _, _) = weight.size4()?;
        let side = Tensor::f_from_slice(KERNEL.as_flattened())?.f_view([4, 3])?;
        // Rows are the places in the 4×4 square, columns those in the 3×3 kernel.
        let both = side.f_kron(&side)?;
        let kernels = Tensor::f_empty([PLANES, inputs, outputs], (Kind::Float, Device::Cpu))?;
        for first in (0..outputs).step_by(usize::try_from(OUTPUTS_AT_ONCE).unwrap_or(1)) {
            let count = OUTPUTS_AT_ONCE.min(outputs - first);
            let plain = weight.f_narrow(0, first, count)?.f_totype(Kind::Double)?;
            let plain = plain.f_permute([2, 3, 1, 0])?.f_reshape([9, inputs * count])?;
            let turned = both.f_mm(&plain)?.f_view([PLANES, inputs, count])?;
            kernels.f_narrow(2, first, count)?.f_copy_(&turned)?;
        }
        Ok(Self { kernels })
    }

    /// Bytes that it holds, for kernels of so many numbers.
    pub fn bytes(numbers: u64) -> u64 {
        numbers / 9 * PLANES.unsigned_abs() * Kind::Float.elt_size_in_bytes() as u64
    }

    /// `(batch, inputs, h, w)` to `(batch, outputs, h, w)`, to which the bias `(outputs)` is added.
    pub fn forward(&self, x: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (batch, _, height, width) = x.size4()?;
        let (_, inputs, outputs) = self.kernels.size3()?;
        let (rows, columns) = ((height + 1) / 2, ((width + 1) / 2).max(FEWEST_COLUMNS));
        // Channels last: `(batch, 2·rows + 2, 2·columns + 2, inputs)`, what is odd filled up with zeros.
        let padding = [0, 0, 1, 2 * columns - width + 1, 1, 2 * rows - height + 1];
        let padded = x.f_permute([0, 2, 3, 1])?.f_constant_pad_nd(padding)?;
        let out = Tensor::f_empty([batch, rows, 2, columns, 2, outputs], (Kind::Float, Device::Cpu))?;
        // As many rows for one picture as for several: what a picture becomes does not depend on its neighbours.
        let at_once = (TILES_AT_ONCE / columns).clamp(1, rows);
        let mut first = 0;
        while first < rows {
            let count = at_once.min(rows - first);
            let planes = planes(&padded, first, count, columns)?;
            let products = planes.f_view([PLANES, batch * count * columns, inputs])?.f_bmm(&self.kernels)?;
            let products = products.f_view([4, 4, batch, count, columns, outputs])?;
            gather(&products, bias, &out.f_narrow(1, first, count)?)?;
            first += count;
        }
        let whole = out.f_view([batch, 2 * rows, 2 * columns, outputs])?.f_permute([0, 3, 1, 2])?;
        Ok(whole.f_narrow(2, 0, height)?.f_narrow(3, 0, width)?.f_contiguous()?)
    }
}

/// `Aᵀ m A` and the bias: from `(4, 4, batch, rows, columns, outputs)` to `(batch, rows, 2, columns, 2, outputs)`.
fn gather(products: &Tensor, bias: &Tensor, out: &Tensor) -> Result<()> {
    for (y, row) in (0..).zip(pair(products)?) {
        for (x, pixel) in (0..).zip(pair(&row)?) {
            let _same = pixel.f_add_out(&out.f_select(4, x)?.f_select(2, y)?, bias)?;
        }
    }
    Ok(())
}

/// `Aᵀ` over the first dimension: two of four.
fn pair(products: &Tensor) -> Result<[Tensor; 2]> {
    let [a, b, c, d] =
        [products.f_select(0, 0)?, products.f_select(0, 1)?, products.f_select(0, 2)?, products.f_select(0, 3)?];
    Ok([b.f_add(&c)?.f_add_(&a)?, b.f_sub(&c)?.f_sub_(&d)?])
}

/// `Bᵀ d B` of `count` rows of tiles: `(16, batch, count, columns, inputs)`.
fn planes(padded: &Tensor, first: i64, count: i64, columns: i64) -> Result<Tensor> {
    let (batch, _, _, inputs) = padded.size4()?;
    let planes = Tensor::f_empty([PLANES, batch, count, columns, inputs], (Kind::Float, Device::Cpu))?;
    let row = |i| padded.f_slice(1, 2 * first + i, 2 * (first + count) + i - 1, 2);
    let [a, b, c, d] = [row(0)?, row(1)?, row(2)?, row(3)?];
    let rows = [a.f_sub(&c)?, b.f_add(&c)?, c.f_sub(&b)?, b.f_sub(&d)?];
    for (i, row) in (0_i64..).zip(rows) {
        let column = |j| row.f_slice(2, j, 2 * columns + j - 1, 2);
        let [a, b, c, d] = [column(0)?, column(1)?, column(2)?, column(3)?];
        let plane = |j| planes.f_select(0, 4 * i + j);
        let _same = a.f_sub_out(&plane(0)?, &c)?;
        let _same = b.f_add_out(&plane(1)?, &c)?;
        let _same = c.f_sub_out(&plane(2)?, &b)?;
        let _same = b.f_sub_out(&plane(3)?, &d)?;
    }
    Ok(planes)
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::{TILES_AT_ONCE, Winograd, suits};

    fn noise(seed: u64, shape: &[i64]) -> Tensor {
        torch_shim::Generator::new(seed).unwrap().randn(shape).unwrap()
    }

    /// Odd sides, one pixel, one picture and several, channels that fill no vector, more rows than are computed at once.
    #[test]
    fn it_is_the_convolution() {
        for (inputs, outputs) in [(64, 64), (33, 70), (1, 1), (320, 256), (5, 48)] {
            let (weight, bias) = (noise(5, &[outputs, inputs, 3, 3]), noise(6, &[outputs]));
            let (ours, plain_bias) = (Winograd::of(&weight).unwrap(), bias.shallow_clone());
            let (weight, bias) = (weight.to_kind(Kind::Double), bias.to_kind(Kind::Double));
            for (batch, height, width) in [
                (1, 1, 1),
                (2, 12, 12),
                (3, 7, 5),
                (1, 1, 8),
                (2, 33, 17),
                (1, 2, 2),
                (2, 40, 36),
                (1, 3, 2 * TILES_AT_ONCE + 2),
            ] {
                let x = noise(7, &[batch, inputs, height, width]);
                let exact = x.to_kind(Kind::Double).conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
                let y = ours.forward(&x, &plain_bias).unwrap();
                assert_eq!((y.size(), y.kind(), y.is_contiguous()), (exact.size(), Kind::Float, true));
                let off = ((&y - &exact).abs().max() / exact.abs().max()).double_value(&[]);
                assert!(off < 2e-6, "{inputs}→{outputs} at {batch}×{height}×{width}: {off:e}");
            }
        }
    }

    /// Also where channels lie last, and to the bit in any company.
    #[test]
    fn a_picture_is_the_same_in_any_batch_and_order_of_memory() {
        for (inputs, outputs, side) in
            [(640, 320, 12), (320, 320, 24), (640, 640, 9), (256, 512, 40), (320, 320, 2), (320, 320, 4)]
        {
            let (ours, bias) = (Winograd::of(&noise(5, &[outputs, inputs, 3, 3])).unwrap(), noise(6, &[outputs]));
            let x = noise(7, &[4, inputs, side, side]);
            let together = ours.forward(&x, &bias).unwrap();
            for picture in 0..4 {
                let alone = ours.forward(&x.narrow(0, picture, 1), &bias).unwrap();
                assert_eq!(alone, together.narrow(0, picture, 1), "picture {picture} of {inputs}→{outputs} at {side}");
            }
            let last = torch_shim::MemoryFormat::ChannelsLast.of(&x).unwrap();
            assert_eq!(ours.forward(&last, &bias).unwrap(), together);
        }
    }

    #[test]
    fn it_is_for_neither_few_nor_very_many_channels() {
        assert!(suits(640, 320) && !suits(160, 320) && !suits(320, 1280));
    }

    #[test]
    fn its_bytes_are_those_of_its_kernels() {
        let ours = Winograd::of(&noise(5, &[32, 48, 3, 3])).unwrap();
        assert_eq!(Winograd::bytes(32 * 48 * 9), 4 * ours.kernels.numel() as u64);
    }
}
