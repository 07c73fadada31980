//! Where the tensors of a state dict lie in their file, in arithmetic that cannot overflow. Needs to be told where each
//! storage lies: the containers differ in that alone.

use std::collections::HashSet;

use crate::contents::{MAX_TENSORS, TensorInfo};
use crate::tensor_type::TensorType;

use super::flatten::StateDict;
use super::reader::Refusal;
use super::value::{Object, Storage, Tensor, Tree};

/// A range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub offset: u64,
    pub len: u64,
}

/// Turns the tensors of a state dict into places in a file of `file_len` bytes, in the order of their bytes; `locate`
/// says where a storage lies. The error is the reason alone.
pub(crate) fn infos(
    tree: &Tree<'_>,
    dict: &StateDict,
    file_len: u64,
    locate: impl Fn(&Storage, &str) -> Result<Extent, Refusal>,
) -> Result<Vec<TensorInfo>, Refusal> {
    if dict.tensors.len() > MAX_TENSORS {
        return Err(format!("more than {MAX_TENSORS} tensors"));
    }
    let mut names = HashSet::with_capacity(dict.tensors.len());
    let mut infos = Vec::with_capacity(dict.tensors.len());
    for (name, id) in &dict.tensors {
        if !names.insert(name.as_str()) {
            return Err(format!("tensor `{name}` stands twice"));
        }
        let Some(Object::Tensor(tensor)) = tree.object(*id) else { continue };
        let Some(Object::Storage(storage)) = tree.object(tensor.storage) else { continue };
        let key = tree.text(storage.key);
        let extent = locate(storage, key).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        let info = place(name, tensor, storage, extent, file_len).map_err(|why| format!("tensor `{name}`: {why}"))?;
        infos.push(info);
    }
    infos.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    Ok(infos)
}

fn place(name: &str, tensor: &Tensor, storage: &Storage, extent: Extent, file_len: u64) -> Result<TensorInfo, Refusal> {
    let Some(dtype) = tensor.dtype.or(storage.dtype) else {
        return Err("its storage has no type, and neither has it".to_owned());
    };
    let size = dtype.size();
    let too_far =
        || format!("its shape {:?} and strides {:?} reach further than can be counted", tensor.shape, tensor.strides);
    let storage_size = storage.dtype.map_or(1, TensorType::size);
    let claimed = storage.count.checked_mul(storage_size).ok_or_else(too_far)?;
    if claimed > extent.len {
        return Err(format!("its storage claims {claimed} bytes of {} that are there", extent.len));
    }
    let (base, room) = match storage.view {
        None => (0, claimed),
        Some((first, count)) => {
            let base = first.checked_mul(storage_size).ok_or_else(too_far)?;
            let room = count.checked_mul(storage_size).ok_or_else(too_far)?;
            if base.checked_add(room).is_none_or(|end| end > claimed) {
                return Err(format!("it views {count} elements from {first} on, past the end of its storage"));
            }
            (base, room)
        }
    };
    let count = tensor.shape.iter().try_fold(1_u64, |count, axis| count.checked_mul(*axis)).ok_or_else(too_far)?;
    let bytes = count.checked_mul(size).ok_or_else(too_far)?;
    // Strides of 0 can make much of little: nobody means a tensor larger than its file.
    if bytes > file_len {
        return Err(format!("its shape {:?} takes {bytes} bytes, more than the whole file", tensor.shape));
    }
    let span = span(&tensor.shape, &tensor.strides).ok_or_else(too_far)?;
    let begin = tensor.offset.checked_mul(size).ok_or_else(too_far)?;
    let len = span.checked_mul(size).ok_or_else(too_far)?;
    if begin.checked_add(len).is_none_or(|end| end > room) {
        return Err(format!(
            "its elements {} to {} lie past the end of its storage of {room} bytes",
            tensor.offset,
            tensor.offset.saturating_add(span)
        ));
    }
    let offset = base.checked_add(begin).and_then(|begin| begin.checked_add(extent.offset)).ok_or_else(too_far)?;
    Ok(TensorInfo {
        name: name.to_owned(),
        dtype,
        strides: (!is_contiguous(&tensor.shape, &tensor.strides)).then(|| tensor.strides.clone()),
        shape: tensor.shape.clone(),
        offset,
        len,
    })
}

/// Elements from the first to the end of the last.
fn span(shape: &[u64], strides: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(0_u64, |last, (axis, stride)| last.checked_add(axis.checked_sub(1)?.checked_mul(*stride)?))?;
    last.checked_add(1)
}

/// Whether the elements lie in order without gaps. The stride of an axis of one element says nothing.
fn is_contiguous(shape: &[u64], strides: &[u64]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut expected = 1_u64;
    shape.iter().zip(strides).rev().all(|(axis, stride)| {
        let fits = *axis == 1 || *stride == expected;
        expected = expected.saturating_mul(*axis);
        fits
    })
}
