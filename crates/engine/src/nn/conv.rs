//! Convolutions over `(batch, channels, height, width)`.

use tch::{Device, Kind, Tensor};

use super::winograd::{self, Winograd};
use crate::Result;
use crate::weights::{Scope, Weight};

/// Kernels of fewer numbers than this stay as they are: ordering them takes no time that could be seen.
const WORTH_PACKING: i64 = 1 << 14;

/// The picture (height and width) that packed kernels are ordered for. Others come out the same; the order does not
/// depend on it for the convolutions of diffusion networks.
const USUAL_SIDE: i64 = 32;

/// A square convolution with a bias.
#[derive(Debug)]
pub struct Conv2d {
    kernels: Kernels,
    bias: Weight,
    stride: i64,
    padding: i64,
}

/// Where the kernels lie.
#[derive(Debug)]
enum Kernels {
    /// As the file has them: `(outputs, inputs, side, side)`.
    Plain(Weight),
    /// In the blocks that oneDNN computes with. It would put plain ones into this order at every call, which where pictures
    /// are small and channels many is a third of the time; the sums are the same to the bit. What libtorch convolves with
    /// another library is convolved so here, too.
    Packed(Tensor),
    /// Turned for fewer products: for many pixels, of side 3 and stride 1.
    Turned(Winograd),
    /// As the file has them, for now: they are widened and packed each time they are used, and this is the kind for that.
    Stored(Weight, Kind),
}

/// What the pictures of a convolution are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// Many for their channels: kernels may take more memory if they are quicker with it.
    Many,
    /// Few, or not known.
    Few,
}

impl Conv2d {
    /// From `weight` and `bias` of the scope, keeping the picture's size: padded by half the (odd) side.
    pub fn open(scope: &Scope<'_>, inputs: i64, outputs: i64, side: i64) -> Result<Self> {
        Self::open_strided(scope, inputs, outputs, side, 1, (side - 1) / 2)
    }

    /// From `weight` and `bias` of the scope.
    pub fn open_strided(
        scope: &Scope<'_>,
        inputs: i64,
        outputs: i64,
        side: i64,
        stride: i64,
        padding: i64,
    ) -> Result<Self> {
        let weight = scope.matrix("weight", &[outputs, inputs, side, side])?;
        let bias = scope.tensor("bias", &[outputs])?;
        if scope.stays_as_stored("weight") {
            return Ok(Self { kernels: Kernels::Stored(weight, scope.kind()), bias, stride, padding });
        }
        let kernels = match copied_bytes(scope.device(), scope.kind(), [outputs, inputs, side, side], Pixels::Few) {
            Some(bytes) => {
                scope.note_copy(&weight, bytes);
                Kernels::Packed(pack(&weight, stride, padding)?)
            }
            None => Kernels::Plain(weight),
        };
        Ok(Self { kernels, bias, stride, padding })
    }

    /// From `weight` and `bias` of the scope, of side 3, keeping the picture's size.
    pub fn open_three(scope: &Scope<'_>, inputs: i64, outputs: i64, pixels: Pixels) -> Result<Self> {
        if pixels == Pixels::Few || !turns(scope.device(), scope.kind(), inputs, outputs) {
            return Self::open(scope, inputs, outputs, 3);
        }
        let shape = [outputs, inputs, 3, 3];
        let (weight, bias) = (scope.tensor("weight", &shape)?, scope.tensor("bias", &[outputs])?);
        if let Some(bytes) = copied_bytes(scope.device(), scope.kind(), shape, pixels) {
            scope.note_copy(&weight, bytes);
        }
        Ok(Self { kernels: Kernels::Turned(Winograd::of(&weight)?), bias, stride: 1, padding: 1 })
    }

    /// `(batch, inputs, h, w)` to `(batch, outputs, h', w')`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.ready()?.forward(x)
    }

    /// The same for several pictures: what it takes to make kernels ready, it takes once.
    pub fn ready(&self) -> Result<Ready<'_>> {
        let kernels = match &self.kernels {
            Kernels::Plain(weight) => ReadyKernels::Plain(weight.shallow_clone()),
            Kernels::Packed(packed) => ReadyKernels::Packed(packed.shallow_clone()),
            Kernels::Turned(winograd) => ReadyKernels::Turned(winograd),
            Kernels::Stored(weight, kind) => {
                let widened = weight.f_totype(*kind)?;
                let numbers = widened.numel().try_into().unwrap_or(i64::MAX);
                if packs(Device::Cpu, *kind, numbers) {
                    let packed = pack(&widened, self.stride, self.padding)?;
                    drop(widened);
                    weight.forget();
                    ReadyKernels::Packed(packed)
                } else {
                    ReadyKernels::Plain(widened)
                }
            }
        };
        Ok(Ready { conv: self, kernels })
    }
}

/// A convolution that can be used at once.
#[derive(Debug)]
pub struct Ready<'a> {
    conv: &'a Conv2d,
    kernels: ReadyKernels<'a>,
}

#[derive(Debug)]
enum ReadyKernels<'a> {
    Plain(Tensor),
    Packed(Tensor),
    Turned(&'a Winograd),
}

impl Ready<'_> {
    /// `(batch, inputs, h, w)` to `(batch, outputs, h', w')`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Conv2d { bias, stride, padding, .. } = self.conv;
        let (stride, padding) = ([*stride; 2], [*padding; 2]);
        match &self.kernels {
            ReadyKernels::Plain(weight) => Ok(x.f_conv2d(weight, Some(&**bias), stride, padding, [1, 1], 1)?),
            ReadyKernels::Packed(packed) if goes_to_onednn(x, packed.size4()?.3, stride[0])? => {
                Ok(x.f_mkldnn_convolution(packed, Some(&**bias), padding, stride, [1, 1], 1)?)
            }
            ReadyKernels::Packed(packed) => {
                let plain = packed.f_to_dense(None, false)?;
                Ok(x.f_conv2d(&plain, Some(&**bias), stride, padding, [1, 1], 1)?)
            }
            ReadyKernels::Turned(winograd) => winograd.forward(x, bias),
        }
    }
}

/// Bytes that kernels `(outputs, inputs, side, side)` take in memory of their own, where they are not used as they lie in
/// their file. `pixels` is what [`Conv2d::open_three`] is told, and few for all that are opened otherwise.
pub fn copied_bytes(device: Device, kind: Kind, shape: [i64; 4], pixels: Pixels) -> Option<u64> {
    let [outputs, inputs, ..] = shape;
    let numbers = shape.iter().fold(1_i64, |product, n| product.saturating_mul(*n));
    let bytes = numbers.unsigned_abs().saturating_mul(kind.elt_size_in_bytes() as u64);
    if pixels == Pixels::Many && shape.ends_with(&[3, 3]) && turns(device, kind, inputs, outputs) {
        return Some(Winograd::bytes(numbers.unsigned_abs()));
    }
    packs(device, kind, numbers).then_some(bytes)
}

/// Whether kernels of so many numbers are packed, and so are not used where they lie in their file.
fn packs(device: Device, kind: Kind, numbers: i64) -> bool {
    device == Device::Cpu && kind == Kind::Float && numbers >= WORTH_PACKING && tch::utils::has_mkldnn()
}

/// Whether kernels of side 3, over many pixels, are used as [`Winograd`] has them.
fn turns(device: Device, kind: Kind, inputs: i64, outputs: i64) -> bool {
    winograd::suits(inputs, outputs) && packs(device, kind, 9 * inputs * outputs)
}

/// Whether libtorch lets oneDNN convolve with plain kernels of this side (`use_mkldnn` in its `Convolution.cpp`). Single
/// small pictures another library convolves, which rounds otherwise; they are few, and putting their kernels back into order
/// costs little.
fn goes_to_onednn(x: &Tensor, side: i64, stride: i64) -> Result<bool> {
    let (batch, channels, height, width) = x.size4()?;
    let worth_threads = stride > 1 || batch >= 16 || side != 1 || tch::get_num_threads() > 1;
    Ok(worth_threads && (side > 3 || batch > 1 || channels * height * width > 20_480))
}

/// The same kernels in oneDNN's order, in memory of their own.
fn pack(weight: &Tensor, stride: i64, padding: i64) -> Result<Tensor> {
    let usual = [2, weight.size4()?.1, USUAL_SIDE, USUAL_SIDE];
    Ok(weight.f_to_mkldnn(Kind::Float)?.f_mkldnn_reorder_conv2d_weight(
        [padding; 2],
        [stride; 2],
        [1, 1],
        1,
        usual.as_slice(),
    )?)
}

/// Doubles the picture, or makes it `size` (height, width), by repeating the nearest pixel.
pub fn upsample_nearest(x: &Tensor, size: Option<(i64, i64)>) -> Result<Tensor> {
    if let Some((height, width)) = size {
        return Ok(x.f_upsample_nearest2d([height, width], None, None)?);
    }
    let (_, _, height, width) = x.size4()?;
    Ok(x.f_upsample_nearest2d([height * 2, width * 2], 2.0, 2.0)?)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::{Conv2d, Kernels, pack, turns};
    use crate::weights::Weight;

    #[test]
    fn kernels_are_turned_in_single_precision_on_the_processor() {
        assert_eq!(turns(Device::Cpu, Kind::Float, 640, 320), tch::utils::has_mkldnn());
        assert!(!turns(Device::Cuda(0), Kind::Float, 640, 320) && !turns(Device::Cpu, Kind::Half, 640, 320));
        assert!(!turns(Device::Cpu, Kind::Float, 160, 320));
    }

    /// Strides, sides, odd sizes, one pixel, one picture and several, one thread and two: what is packed for one size fits
    /// all, and small pictures take the library that libtorch takes.
    #[test]
    fn packed_kernels_give_the_same_to_the_bit() {
        let noise = |shape: &[i64]| torch_shim::Generator::new(5).unwrap().randn(shape).unwrap();
        for (inputs, outputs, side, stride, padding) in
            [(64, 64, 3, 1, 1), (64, 48, 3, 2, 1), (160, 40, 3, 2, 0), (96, 256, 1, 1, 0), (30, 70, 5, 1, 2)]
        {
            let weight = noise(&[outputs, inputs, side, side]);
            let bias = Weight::own(noise(&[outputs]));
            let packed = Kernels::Packed(pack(&weight, stride, padding).unwrap());
            let conv = Conv2d { kernels: packed, bias, stride, padding };
            for threads in [1, 2] {
                tch::set_num_threads(threads);
                for (batch, height, width) in [(1, 40, 40), (2, 33, 17), (3, 8, 8), (1, 96, 128), (2, 3, 3), (1, 7, 6)]
                {
                    let x = noise(&[batch, inputs, height, width]);
                    let plain = x.conv2d(&weight, Some(&*conv.bias), [stride; 2], [padding; 2], [1, 1], 1);
                    let ours = conv.forward(&x).unwrap();
                    assert_eq!(ours, plain, "{inputs}→{outputs} {side} at {batch}×{height}×{width}, {threads} threads");
                    assert_eq!((ours.kind(), ours.device()), (Kind::Float, Device::Cpu));
                }
            }
        }
    }
}
