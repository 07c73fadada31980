//! The bytes of a part as they come out of its files, wherever they lie there, as a digest. Read with plain reads: a file
//! that is cut off meanwhile is an error here and not a signal.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Network;
use super::identity::Digest;
use crate::parts::{Form, Part, PartTensor};
use crate::{Error, Result};

const CHUNK: usize = 1 << 20;
/// How many tensors a sample looks into, and how far.
const SAMPLES: usize = 32;
const SAMPLE_BYTES: u64 = 4 << 10;

/// A digest of a few bytes of the part: different ones are of different parts.
pub(super) fn sample<N: Network>(part: &Part) -> Result<Digest> {
    let tensors = in_order::<N>(part);
    let step = tensors.len().div_ceil(SAMPLES).max(1);
    digest(tensors.iter().step_by(step), |bytes| {
        let middle = bytes / 2;
        middle.saturating_sub(SAMPLE_BYTES / 2)..bytes.min(middle + SAMPLE_BYTES / 2)
    })
}

/// A digest of all bytes of the part: equal ones are of the same part.
pub(super) fn whole<N: Network>(part: &Part) -> Result<Digest> {
    digest(in_order::<N>(part).iter(), |bytes| 0..bytes)
}

fn in_order<N: Network>(part: &Part) -> Vec<(&str, &PartTensor)> {
    let mut tensors: Vec<_> =
        part.tensors.iter().filter_map(|tensor| Some((N::role(part, &tensor.name)?, tensor))).collect();
    tensors.sort_by(|a, b| a.0.cmp(b.0));
    tensors
}

fn digest<'a>(
    tensors: impl Iterator<Item = &'a (&'a str, &'a PartTensor)>,
    range: impl Fn(u64) -> Range<u64>,
) -> Result<Digest> {
    let mut files: HashMap<&Path, File> = HashMap::new();
    let mut hasher = blake3::Hasher::new();
    for (role, tensor) in tensors {
        let path = tensor.file.path.as_path();
        let file = match files.entry(path) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(File::open(path).map_err(unread(path))?),
        };
        let bytes = elements(&tensor.shape())?.checked_mul(tensor.info.dtype.size()).ok_or_else(too_large)?;
        hasher.update(role.as_bytes());
        hasher.update(&bytes.to_le_bytes());
        feed(&mut hasher, file, tensor, range(bytes)).map_err(unread(path))?;
    }
    Ok(hasher.finalize())
}

/// Feeds a range of the tensor's bytes, as they lie when the tensor is laid out in order.
fn feed(hasher: &mut blake3::Hasher, file: &File, tensor: &PartTensor, range: Range<u64>) -> std::io::Result<()> {
    let Some(offset) = straight(tensor) else {
        let bytes = gathered(file, tensor)?;
        let range =
            usize::try_from(range.start).unwrap_or(usize::MAX)..usize::try_from(range.end).unwrap_or(usize::MAX);
        hasher.update(bytes.get(range).unwrap_or(&[]));
        return Ok(());
    };
    let mut buffer = vec![0; CHUNK];
    let mut at = range.start;
    while at < range.end {
        let count = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
        let (chunk, _) = buffer.split_at_mut(count);
        file.read_exact_at(chunk, offset.saturating_add(at))?;
        hasher.update(chunk);
        at += count as u64;
    }
    Ok(())
}

/// Where a tensor begins in its file, when it lies there in order.
fn straight(tensor: &PartTensor) -> Option<u64> {
    let info = &tensor.info;
    if info.strides.is_some() {
        return None;
    }
    match &tensor.form {
        Form::Whole | Form::Reshaped(_) => Some(info.offset),
        Form::Rows(rows) => {
            let row = info.len.checked_div(*info.shape.first()?)?;
            info.offset.checked_add(row.checked_mul(rows.start)?)
        }
        Form::Joined(_) | Form::Transposed => None,
    }
}

/// A tensor that does not lie in order, put in order.
fn gathered(file: &File, tensor: &PartTensor) -> std::io::Result<Vec<u8>> {
    let info = &tensor.info;
    let outside = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let index = |n: u64| usize::try_from(n).map_err(|_| outside());
    let mut bytes = vec![0; index(info.len)?];
    file.read_exact_at(&mut bytes, info.offset)?;
    let mut shape = info.shape.clone();
    let mut strides = info.strides.clone().unwrap_or_else(|| in_order_strides(&shape));
    let mut start = 0;
    match &tensor.form {
        Form::Whole | Form::Reshaped(_) => {}
        Form::Joined(ranges) => {
            let rows = ranges.iter().map(|rows| PartTensor { form: Form::Rows(rows.clone()), ..tensor.clone() });
            return rows
                .map(|rows| gathered(file, &rows))
                .collect::<std::io::Result<Vec<_>>>()
                .map(|rows| rows.concat());
        }
        Form::Rows(rows) => {
            start = rows.start * strides.first().copied().unwrap_or_default();
            shape = tensor.shape();
        }
        Form::Transposed => {
            shape.reverse();
            strides.reverse();
        }
    }
    let size = index(info.dtype.size())?;
    let count = shape.iter().product::<u64>();
    let mut ordered = Vec::with_capacity(index(count)?.saturating_mul(size));
    for n in 0..count {
        let (mut rest, mut at) = (n, start);
        for (dimension, stride) in shape.iter().zip(&strides).rev() {
            at += rest % dimension * stride;
            rest /= dimension;
        }
        let at = index(at)?.checked_mul(size).ok_or_else(outside)?;
        ordered.extend_from_slice(bytes.get(at..at + size).ok_or_else(outside)?);
    }
    Ok(ordered)
}

/// Elements from one index of an axis to the next, where they lie in order without gaps.
fn in_order_strides(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    let mut elements = 1_u64;
    for (stride, n) in strides.iter_mut().zip(shape).rev() {
        *stride = elements;
        elements = elements.saturating_mul(*n);
    }
    strides
}

fn elements(shape: &[u64]) -> Result<u64> {
    shape.iter().try_fold(1_u64, |product, n| product.checked_mul(*n)).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::broken("a tensor's shape is too large")
}

fn unread(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::broken(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use easel_catalog::TensorFile;
    use safetensors::tensor::{Dtype, TensorView};
    use serde_json::Map;

    use super::{Network, sample, whole};
    use crate::Result;
    use crate::parts::{Form, Part, PartTensor};
    use crate::weights::WeightMap;

    struct Plain;

    impl Network for Plain {
        fn open(_: &Part, _: &WeightMap) -> Result<Self> {
            Ok(Self)
        }
    }

    /// A part of one matrix, which lies in a file of one tensor in some form.
    fn part(path: &Path, numbers: &[u8], shape: &[usize], strides: Option<Vec<u64>>, form: Form) -> Part {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| u16::from(*number).to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F16, shape.to_vec(), &bytes).unwrap();
        safetensors::serialize_to_file([("w", view)], None, path).unwrap();
        let file = Arc::new(TensorFile::open(path).unwrap());
        let mut info = file.tensors[0].clone();
        info.strides = strides;
        let tensor = PartTensor { name: "w".to_owned(), file, info, form };
        let (name, class) = ("unet".to_owned(), String::new());
        Part { name, class, config: Map::new(), tensors: vec![tensor], patches: None }
    }

    #[test]
    fn a_matrix_is_the_same_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let place = |n: usize| folder.path().join(format!("{n}.safetensors"));
        let same = [
            part(&place(0), &[1, 2, 3, 4], &[2, 2], None, Form::Whole),
            part(&place(1), &[1, 3, 2, 4], &[2, 2], None, Form::Transposed),
            part(&place(2), &[9, 9, 1, 2, 3, 4, 8, 8], &[4, 2], None, Form::Rows(1..3)),
            part(&place(3), &[3, 4, 9, 9, 1, 2], &[3, 2], None, Form::Joined(vec![2..3, 0..1])),
            part(&place(4), &[1, 2, 3, 4], &[2, 2, 1, 1], None, Form::Reshaped(vec![2, 2])),
            part(&place(5), &[1, 3, 2, 4], &[2, 2], Some(vec![1, 2]), Form::Whole),
        ];
        let (bytes, few) = (whole::<Plain>(&same[0]).unwrap(), sample::<Plain>(&same[0]).unwrap());
        for (n, part) in same.iter().enumerate() {
            assert_eq!(whole::<Plain>(part).unwrap(), bytes, "{n}");
            assert_eq!(sample::<Plain>(part).unwrap(), few, "{n}");
        }
        let other = part(&place(6), &[1, 2, 3, 5], &[2, 2], None, Form::Whole);
        assert_ne!(whole::<Plain>(&other).unwrap(), bytes);
    }

    #[test]
    fn a_file_that_was_cut_off_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let part = part(&path, &[1, 2, 3, 4], &[2, 2], None, Form::Whole);
        std::fs::write(&path, b"short").unwrap();
        assert!(whole::<Plain>(&part).is_err() && sample::<Plain>(&part).is_err());
    }
}
