//! One tensor of a model together with the mapping that its bytes lie in.
//!
//! The only unsafe code of the engine: libtorch is given a pointer into a read-only mapping of the file.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use easel_catalog::{SafetensorsFile, TensorInfo, TensorType};
use memmap2::Mmap;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// A weight: the tensor, and what keeps its bytes alive.
///
/// The tensor may lie in read-only memory. Nothing may write to it in place, and no view of it may
/// outlive the weight; within this crate both hold because layers only ever read their weights.
#[derive(Debug)]
pub struct Weight {
    // Declared before the mapping, because fields are dropped in order and the tensor points into it.
    tensor: Tensor,
    _mapping: Option<Arc<Mmap>>,
}

impl Deref for Weight {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

/// Maps a file whose header has been checked. A file that has changed its length since is refused.
pub(super) fn map_file(file: &SafetensorsFile) -> Result<Arc<Mmap>> {
    let map = open_mapping(&file.path).map_err(|error| Error::broken(format!("{}: {error}", file.path.display())))?;
    if u64::try_from(map.len()) != Ok(file.len) {
        return Err(Error::broken(format!(
            "{} changed while it was opened: {} bytes expected, {} found",
            file.path.display(),
            file.len,
            map.len()
        )));
    }
    Ok(Arc::new(map))
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by nature: see the comment")]
fn open_mapping(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is private and read-only. A model file that is truncated while it is in use
    // kills the process with SIGBUS, which the gateway sees and answers by starting the engine again;
    // one that is overwritten gives a wrong picture, never a wrong access.
    unsafe { Mmap::map(&file) }
}

/// The tensor of `info` on `device` in `kind`: a view of the mapping where type, alignment and device
/// allow it, a copy otherwise.
pub(super) fn read(mapping: &Arc<Mmap>, info: &TensorInfo, kind: Kind, device: Device) -> Result<Weight> {
    let stored = kind_of(info)?;
    let shape = info.shape.iter().map(|&n| i64::try_from(n)).collect::<Result<Vec<_>, _>>();
    let range = usize::try_from(info.offset)
        .and_then(|start| usize::try_from(info.len).map(|len| start..start.saturating_add(len)));
    let (Ok(shape), Ok(range)) = (shape, range) else {
        return Err(Error::broken(format!("tensor {} is too large", info.name)));
    };
    let Some(bytes) = mapping.get(range) else {
        return Err(Error::broken(format!("tensor {} lies outside its file", info.name)));
    };
    if bytes.is_empty() {
        let tensor = Tensor::f_zeros(&shape, (kind, device))?;
        return Ok(Weight { tensor, _mapping: None });
    }
    let aligned = bytes.as_ptr().addr().is_multiple_of(stored.elt_size_in_bytes());
    let tensor = if aligned { view(bytes, &shape, stored)? } else { Tensor::f_from_data_size(bytes, &shape, stored)? };
    if stored == kind && device == Device::Cpu {
        return Ok(Weight { tensor, _mapping: aligned.then(|| Arc::clone(mapping)) });
    }
    // To the device first: a GPU converts faster than the CPU, and fewer bytes travel when it widens.
    let tensor = tensor.f_to_device_(device, stored, false, false)?.f_totype(kind)?;
    Ok(Weight { tensor, _mapping: None })
}

#[expect(unsafe_code, reason = "libtorch has no other way to use memory that it did not allocate")]
fn view(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Tensor> {
    let mut strides = vec![1; shape.len()];
    let mut elements: i64 = 1;
    for (stride, &n) in strides.iter_mut().zip(shape).rev() {
        *stride = elements;
        elements = elements.saturating_mul(n);
    }
    let needed = usize::try_from(elements).map(|n| n.saturating_mul(kind.elt_size_in_bytes()));
    if needed != Ok(bytes.len()) {
        return Err(Error::broken("a tensor's shape does not fit its bytes"));
    }
    // SAFETY: `bytes` is as long as shape and kind need and aligned for the kind, which the caller and
    // the check above see to; every caller keeps the mapping in the same `Weight` as the tensor, or
    // copies the tensor before it lets go of the mapping.
    Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), shape, &strides, kind, Device::Cpu)? })
}

fn kind_of(info: &TensorInfo) -> Result<Kind> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all that is not a float of these is refused alike")]
    match info.dtype {
        TensorType::F64 => Ok(Kind::Double),
        TensorType::F32 => Ok(Kind::Float),
        TensorType::F16 => Ok(Kind::Half),
        TensorType::BF16 => Ok(Kind::BFloat16),
        other => {
            let name = &info.name;
            Err(Error::broken(format!("tensor {name} is stored as {other}; F64, F32, F16 and BF16 can be used")))
        }
    }
}
