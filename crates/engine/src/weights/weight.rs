//! One tensor of a model together with the mapping that its bytes lie in.
//!
//! The only unsafe code of the engine: libtorch is given a pointer into a read-only mapping of the file.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use easel_catalog::{TensorFile, TensorInfo, TensorType};
use memmap2::{Mmap, UncheckedAdvice};
use tch::{Device, Kind, Tensor};

use crate::parts::{Form, PartTensor};
use crate::{Error, Result};

/// A weight: the tensor, and what keeps its bytes alive.
///
/// The tensor may lie in read-only memory. Nothing may write to it in place, and no view of it may
/// outlive the weight; within this crate both hold because layers only ever read their weights.
#[derive(Debug)]
pub struct Weight {
    // Declared before the mapping, because fields are dropped in order and the tensor points into it.
    tensor: Tensor,
    mapping: Option<Arc<Mmap>>,
}

impl Weight {
    /// A tensor that lies in no file.
    pub(crate) fn own(tensor: Tensor) -> Self {
        Self { tensor, mapping: None }
    }
}

impl Deref for Weight {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

/// What nobody looks at any more need not stay in memory while other tensors of the file are in use.
impl Drop for Weight {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Weight {
    /// Lets go of its pages, if it is a view of a file: it stays what it is, and is read again when it is looked at.
    pub(crate) fn forget(&self) {
        if let (Some(mapping), Ok(kind)) = (&self.mapping, self.tensor.f_kind()) {
            let start = self.tensor.data_ptr().addr().wrapping_sub(mapping.as_ptr().addr());
            forget(mapping, start, self.tensor.numel().saturating_mul(kind.elt_size_in_bytes()));
        }
    }

    /// Whether its bytes are those of the file.
    pub(super) fn is_view(&self) -> bool {
        self.mapping.is_some()
    }

    /// The rows of all of `parts`, one after the other, as one weight, where that takes no memory that lasts: parts
    /// that were copied anyway are moved together, parts that lie next to each other in a file are looked at as one.
    /// Otherwise they are handed back.
    pub(crate) fn stack(parts: Vec<Self>) -> Result<std::result::Result<Self, Vec<Self>>> {
        if parts.iter().all(|part| part.mapping.is_none()) {
            return Ok(Ok(Self::copied(&parts)?));
        }
        Ok(Self::adjacent(&parts)?.ok_or(parts))
    }

    /// The rows of all of `parts`, one after the other, copied.
    pub(crate) fn copied(parts: &[Self]) -> Result<Self> {
        let tensors: Vec<&Tensor> = parts.iter().map(|part| &part.tensor).collect();
        Ok(Self { tensor: Tensor::f_cat(&tensors, 0)?, mapping: None })
    }

    /// One view of parts of a mapping that follow each other without a gap.
    fn adjacent(parts: &[Self]) -> Result<Option<Self>> {
        let Some((first, mapping)) = parts.first().and_then(|part| Some((part, part.mapping.as_ref()?))) else {
            return Ok(None);
        };
        let kind = first.tensor.f_kind()?;
        let mut shape = first.tensor.size();
        let start = first.tensor.data_ptr().addr();
        let mut end = start;
        let mut rows = 0;
        for part in parts {
            let same = part.mapping.as_ref().is_some_and(|other| Arc::ptr_eq(other, mapping));
            let size = part.tensor.size();
            if !same
                || part.tensor.f_kind()? != kind
                || part.tensor.data_ptr().addr() != end
                || size.get(1..) != shape.get(1..)
            {
                return Ok(None);
            }
            end += part.tensor.numel() * kind.elt_size_in_bytes();
            rows += size.first().copied().unwrap_or_default();
        }
        let base = mapping.as_ptr().addr();
        let Some(bytes) = mapping.get(start.wrapping_sub(base)..end.wrapping_sub(base)) else {
            return Ok(None);
        };
        if let Some(first) = shape.first_mut() {
            *first = rows;
        }
        let tensor = view(bytes, &shape, &in_order(&shape), kind)?;
        Ok(Some(Self { tensor, mapping: Some(Arc::clone(mapping)) }))
    }
}

/// The mappings that views of a component lie in.
#[derive(Debug, Default)]
pub struct Pages(Vec<Arc<Mmap>>);

impl Pages {
    /// Each of `mappings` once.
    pub(super) fn of<'a>(mappings: impl Iterator<Item = &'a Arc<Mmap>>) -> Self {
        let mut pages: Vec<Arc<Mmap>> = Vec::new();
        for mapping in mappings {
            if !pages.iter().any(|known| Arc::ptr_eq(known, mapping)) {
                pages.push(Arc::clone(mapping));
            }
        }
        Self(pages)
    }

    /// Lets go of all of them: they stay in the system's cache, and are there again when they are looked at.
    pub fn forget(&self) {
        self.0.iter().for_each(|mapping| forget(mapping, 0, mapping.len()));
    }
}

/// Maps a file whose header has been checked. A file that has changed its length since is refused.
pub(super) fn map_file(file: &TensorFile) -> Result<Arc<Mmap>> {
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

/// The tensor on `device` in `kind`: a view of the mapping where type, alignment and device allow it, a copy otherwise.
pub(super) fn read(mapping: &Arc<Mmap>, tensor: &PartTensor, kind: Kind, device: Device) -> Result<Weight> {
    let info = &tensor.info;
    let stored = kind_of(info)?;
    let numbers = |numbers: &[u64]| numbers.iter().map(|&n| i64::try_from(n)).collect::<Result<Vec<_>, _>>();
    let range = usize::try_from(info.offset)
        .and_then(|start| usize::try_from(info.len).map(|len| start..start.saturating_add(len)));
    let strides = info.strides.as_deref().map(numbers).transpose();
    let (Ok(shape), Ok(strides), Ok(range)) = (numbers(&info.shape), strides, range) else {
        return Err(Error::broken(format!("tensor {} is too large", info.name)));
    };
    let Some(bytes) = mapping.get(range) else {
        return Err(Error::broken(format!("tensor {} lies outside its file", info.name)));
    };
    if shape.contains(&0) {
        let shape = numbers(&tensor.shape()).map_err(|_| Error::broken("a tensor's shape is too large"))?;
        return Ok(Weight { tensor: Tensor::f_zeros(&shape, (kind, device))?, mapping: None });
    }
    let strides = strides.unwrap_or_else(|| in_order(&shape));
    let aligned = bytes.as_ptr().addr().is_multiple_of(stored.elt_size_in_bytes());
    let owned;
    let whole = if aligned {
        view(bytes, &shape, &strides, stored)?
    } else {
        // Where elements lie across the natural boundary, they are moved once, and viewed where they are then.
        owned = Tensor::f_from_data_size(bytes, &[elements(bytes, stored)?], stored)?;
        owned.f_as_strided(&shape, &strides, None)?
    };
    let shaped = shaped(&whole, &tensor.form)?;
    if stored == kind && device == Device::Cpu {
        // Contiguous as the layers expect; a copy only where it is not.
        let in_place = shaped.is_contiguous() && !matches!(tensor.form, Form::Joined(_));
        let tensor = shaped.f_contiguous()?;
        return Ok(Weight { tensor, mapping: (aligned && in_place).then(|| Arc::clone(mapping)) });
    }
    // To the device first: a GPU converts faster than the CPU, and fewer bytes travel when it widens.
    let tensor = shaped.f_to_device_(device, stored, false, false)?.f_totype(kind)?.f_contiguous()?;
    if let Ok(start) = usize::try_from(info.offset) {
        forget(mapping, start, bytes.len());
    }
    Ok(Weight { tensor, mapping: None })
}

/// Lets go of the pages of a mapping, which stay in the system's cache: half a model in half precision would otherwise be
/// in memory twice while it is opened.
#[expect(unsafe_code, reason = "some mappings would lose what was written to them: see the comment")]
fn forget(mapping: &Mmap, start: usize, len: usize) {
    if start.checked_add(len).is_none_or(|end| end > mapping.len()) || len == 0 {
        return;
    }
    // SAFETY: the range lies in the mapping, which is of a file and never written to: pages that are looked at again,
    // also by the tensors that share the first and the last of them, are read again with the same bytes. That it fails
    // changes nothing but the memory that is held.
    let _ = unsafe { mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, start, len) };
}

/// What of a tensor that is written is meant, as a view of it.
fn shaped(whole: &Tensor, form: &Form) -> Result<Tensor> {
    let number = |n: u64| i64::try_from(n).map_err(|_| Error::broken("a tensor's shape is too large"));
    let rows =
        |rows: &Range<u64>| Ok(whole.f_narrow(0, number(rows.start)?, number(rows.end.saturating_sub(rows.start))?)?);
    Ok(match form {
        Form::Whole => whole.shallow_clone(),
        Form::Rows(range) => rows(range)?,
        Form::Joined(ranges) => Tensor::f_cat(&ranges.iter().map(rows).collect::<Result<Vec<_>>>()?, 0)?,
        Form::Transposed => whole.f_transpose(0, 1)?,
        Form::Reshaped(shape) => {
            let shape = shape.iter().map(|&n| number(n)).collect::<Result<Vec<_>>>()?;
            whole.f_reshape(shape)?
        }
    })
}

/// The strides of elements that lie in order without gaps.
fn in_order(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    let mut elements: i64 = 1;
    for (stride, &n) in strides.iter_mut().zip(shape).rev() {
        *stride = elements;
        elements = elements.saturating_mul(n);
    }
    strides
}

fn elements(bytes: &[u8], kind: Kind) -> Result<i64> {
    i64::try_from(bytes.len() / kind.elt_size_in_bytes()).map_err(|_| Error::broken("a tensor is too large"))
}

#[expect(unsafe_code, reason = "libtorch has no other way to use memory that it did not allocate")]
fn view(bytes: &[u8], shape: &[i64], strides: &[i64], kind: Kind) -> Result<Tensor> {
    // The element furthest from the start must lie inside.
    let last = shape.iter().zip(strides).try_fold(0_i64, |last, (&n, &stride)| {
        if stride < 0 || n < 1 { None } else { last.checked_add((n - 1).checked_mul(stride)?) }
    });
    if shape.len() != strides.len() || last.is_none_or(|last| Ok(last) >= elements(bytes, kind).map_err(|_| ())) {
        return Err(Error::broken("a tensor's shape does not fit its bytes"));
    }
    // SAFETY: every element that shape and strides reach lies in `bytes`, which the check above sees to, and is aligned
    // for the kind, which the caller sees to; every caller keeps the mapping in the same `Weight` as the tensor, or
    // copies the tensor before it lets go of the mapping.
    Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), shape, strides, kind, Device::Cpu)? })
}

/// What the numbers of a tensor are stored as.
pub(super) fn kind_of(info: &TensorInfo) -> Result<Kind> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all that is not a float of these is refused alike")]
    match info.dtype {
        TensorType::F64 => Ok(Kind::Double),
        TensorType::F32 => Ok(Kind::Float),
        TensorType::F16 => Ok(Kind::Half),
        TensorType::BF16 => Ok(Kind::BFloat16),
        TensorType::F8E4M3 => Ok(Kind::Float8e4m3fn),
        TensorType::F8E5M2 => Ok(Kind::Float8e5m2),
        other => {
            let name = &info.name;
            Err(Error::broken(format!("tensor {name} is stored as {other}; F64, F32, F16, BF16 and F8 can be used")))
        }
    }
}
