//! Tensors on their way out for inspection, as one safetensors file. Only for debugging and parity: nothing reads it here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Writes the tensors under their names; the file appears whole or not at all.
pub(crate) fn write(path: &Path, tensors: &BTreeMap<String, Copied>) -> Result<()> {
    let views = tensors.iter().map(|(name, copied)| Ok((name.as_str(), copied.view()?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("dump {}: {error}", path.display()));
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|error| failed(&error))?;
    }
    let temporary = path.with_extension("part");
    serialize_to_file(views, None, &temporary).map_err(|error| failed(&error))?;
    fs::rename(&temporary, path).map_err(|error| failed(&error))
}

/// A tensor's bytes, in the order of the format; the computation cannot change them any more.
#[derive(Debug)]
pub(crate) struct Copied {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Copied {
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let kind = tensor.f_kind()?;
        let dtype = dtype(kind)?;
        let count = tensor.numel();
        let mut bytes = vec![0; count * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, count)?;
        let shape = tensor.size().iter().filter_map(|axis| usize::try_from(*axis).ok()).collect();
        Ok(Self { dtype, shape, bytes })
    }

    fn view(&self) -> Result<TensorView<'_>> {
        TensorView::new(self.dtype, self.shape.clone(), &self.bytes)
            .map_err(|error| Error::internal(format!("dump: {error}")))
    }
}

fn dtype(kind: Kind) -> Result<Dtype> {
    match kind {
        Kind::Bool => Ok(Dtype::BOOL),
        Kind::Uint8 => Ok(Dtype::U8),
        Kind::Int8 => Ok(Dtype::I8),
        Kind::Int16 => Ok(Dtype::I16),
        Kind::Int => Ok(Dtype::I32),
        Kind::Int64 => Ok(Dtype::I64),
        Kind::Half => Ok(Dtype::F16),
        Kind::BFloat16 => Ok(Dtype::BF16),
        Kind::Float => Ok(Dtype::F32),
        Kind::Double => Ok(Dtype::F64),
        Kind::ComplexHalf
        | Kind::ComplexFloat
        | Kind::ComplexDouble
        | Kind::QInt8
        | Kind::QUInt8
        | Kind::QInt32
        | Kind::Float8e5m2
        | Kind::Float8e4m3fn
        | Kind::Float8e5m2fnuz
        | Kind::Float8e4m3fnuz => Err(Error::internal(format!("dump: {kind:?} has no place in safetensors"))),
    }
}
