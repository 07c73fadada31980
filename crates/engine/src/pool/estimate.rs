//! What a part will take on a device, told from its headers.

use std::collections::HashSet;

use easel_catalog::TensorType;
use tch::{Device, Kind};

use super::Network;
use crate::nn::packs;
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

/// Whether a tensor is used where it lies in its file.
fn is_view(tensor: &PartTensor, device: Device, kind: Kind) -> bool {
    let info = &tensor.info;
    if let [outputs, inputs, height, width] = tensor.shape()[..] {
        let numbers = outputs.saturating_mul(inputs).saturating_mul(height).saturating_mul(width);
        if packs(device, kind, i64::try_from(numbers).unwrap_or(i64::MAX)) {
            return false;
        }
    }
    device == Device::Cpu
        && is_stored_in(info.dtype, kind)
        && info.strides.is_none()
        && !matches!(tensor.form, Form::Transposed | Form::Joined(_))
        && info.offset.is_multiple_of(info.dtype.size())
}

/// Whether a matrix is left in its file though it is computed with in a wider kind.
fn stays_as_stored(tensor: &PartTensor, device: Device, kind: Kind) -> bool {
    kind == Kind::Float
        && tensor.shape().len() == 2
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
