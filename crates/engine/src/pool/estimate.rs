//! What a part will take on a device, told from its headers.

use std::collections::HashSet;

use easel_catalog::TensorType;
use tch::{Device, Kind};

use super::Network;
use crate::nn::{Pixels, copied_bytes};
use crate::parts::{Form, Part, PartTensor};

/// Bytes of a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Estimate {
    /// Of the device's own memory.
    pub bytes: u64,
    /// Views of a file.
    pub mapped: u64,
}

/// What the network of `part` takes in `kind` on `device`.
pub(super) fn of<N: Network>(part: &Part, device: Device, kind: Kind) -> Estimate {
    let patched: HashSet<&str> = part.patches.iter().flat_map(|patches| patches.names()).collect();
    let mut estimate = Estimate::default();
    for tensor in part.tensors.iter().filter(|tensor| !N::is_known_spare(&tensor.name)) {
        let elements = tensor.shape().iter().fold(1_u64, |product, n| product.saturating_mul(*n));
        if let Some(bytes) = copied_kernels::<N>(part, tensor, device, kind) {
            estimate.bytes = estimate.bytes.saturating_add(bytes);
            continue;
        }
        let is_view =
            is_view(tensor, device, kind) || (N::is_read_once(&tensor.name) && stays_as_stored(tensor, device, kind));
        if is_view && !patched.contains(tensor.name.as_str()) {
            estimate.mapped = estimate.mapped.saturating_add(elements.saturating_mul(tensor.info.dtype.size()));
        } else {
            let bytes = elements.saturating_mul(kind.elt_size_in_bytes() as u64);
            estimate.bytes = estimate.bytes.saturating_add(bytes);
        }
    }
    estimate
}

/// What the kernels of a convolution take where they are put into an order of their own.
fn copied_kernels<N: Network>(part: &Part, tensor: &PartTensor, device: Device, kind: Kind) -> Option<u64> {
    let [outputs, inputs, height, width] = tensor.shape()[..] else { return None };
    if N::is_read_once(&tensor.name) {
        return None;
    }
    let shape = [outputs, inputs, height, width].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let [few, many] = [Pixels::Few, Pixels::Many].map(|pixels| copied_bytes(device, kind, shape, pixels));
    if few != many && N::pixels(part, &tensor.name) == Pixels::Many { many } else { few }
}

/// Whether a tensor is used where it lies in its file.
fn is_view(tensor: &PartTensor, device: Device, kind: Kind) -> bool {
    let info = &tensor.info;
    device == Device::Cpu
        && is_stored_in(info.dtype, kind)
        && info.strides.is_none()
        && !matches!(tensor.form, Form::Transposed | Form::Joined(_))
        && info.offset.is_multiple_of(info.dtype.size())
}

/// Whether a matrix or kernels are left in their file though they are computed with in a wider kind.
fn stays_as_stored(tensor: &PartTensor, device: Device, kind: Kind) -> bool {
    kind == Kind::Float
        && matches!(tensor.shape().len(), 2 | 4)
        && [Kind::Half, Kind::BFloat16].iter().any(|stored| is_view(tensor, device, *stored))
}

fn is_stored_in(dtype: TensorType, kind: Kind) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other type is a type of weights")]
    let stored = match dtype {
        TensorType::F64 => Kind::Double,
        TensorType::F32 => Kind::Float,
        TensorType::F16 => Kind::Half,
        TensorType::BF16 => Kind::BFloat16,
        _ => return false,
    };
    stored == kind
}
