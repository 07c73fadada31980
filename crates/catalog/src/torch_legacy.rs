//! Files of `torch.save` before 1.6, and since when asked for the old way: five pickles one after the other (a magic
//! number, a version, what machine it was, the state dict, the keys of the storages), then for each storage a count and
//! its bytes. Source: `_legacy_save` and `_legacy_load` of `torch/serialization.py`.

use std::collections::HashMap;
use std::io::{Read, Seek};

use crate::bytes::{Fields, Source};
use crate::contents::Contents;
use crate::pickle::{self, Extent, MAX_PICKLE_BYTES, Object, Output, Storage, Tree, Value};
use crate::{Error, Result, TensorType};

/// What a pickle of protocol 2 or later begins with.
pub(crate) const MAGIC: u8 = 0x80;

/// `0x1950a86a20f9469cfc6c`, as pickles spell it.
const TORCH: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;
/// Bytes of the count before a storage.
const COUNT: u64 = 8;

/// Reads what the file says about its tensors.
pub(crate) fn contents<F: Read + Seek>(source: &mut Source<'_, F>) -> Result<Contents> {
    let head = source.len.min(MAX_PICKLE_BYTES);
    let bytes = source.read(0, head)?;
    let start = match preamble(&bytes) {
        Ok(start) => start,
        Err(reason) => return source.refuse(reason),
    };
    let read = || {
        let output = pickle::run(&bytes, start)?;
        let dict = pickle::state_dict(&output.tree, output.value)?;
        let sizes = element_sizes(&output.tree)?;
        Ok((output, dict, sizes))
    };
    let (output, dict, sizes) = match read() {
        Ok(read) => read,
        Err(reason) => return source.refuse::<Contents>(early(&bytes, source.len, reason)),
    };
    let keys = pickle::run(&bytes, output.end).and_then(|keys| Ok((texts(&keys)?, keys.end)));
    let (keys, end) = match keys {
        Ok(keys) => keys,
        Err(reason) => return source.refuse(early(&bytes, source.len, reason)),
    };
    let places = places(source, &keys, end as u64, &sizes)?;
    let tensors = pickle::infos(&output.tree, &dict, source.len, |storage: &Storage, key| {
        let (place, count) = places.get(key).copied().ok_or_else(|| format!("its storage {key} is not in the file"))?;
        if count != storage.count {
            return Err(format!("its storage has {count} elements, not {}", storage.count));
        }
        Ok(place)
    });
    match tensors {
        Ok(tensors) => Ok(Contents { tensors, metadata: dict.notes, warnings: pickle::warnings(&output.foreign) }),
        Err(reason) => source.refuse(reason),
    }
}

/// Checks the first three pickles, and says where the fourth begins. The error is the reason alone.
fn preamble(bytes: &[u8]) -> Result<usize, String> {
    let magic = pickle::run(bytes, 0)?;
    if !matches!(magic.value, Value::Big(span) if magic.tree.span(span) == TORCH) {
        return Err("a pickle that torch.save did not write".to_owned());
    }
    let version = pickle::run(bytes, magic.end)?;
    if version.value != Value::Int(VERSION) {
        return Err(format!("not version {VERSION} of torch's old format"));
    }
    let machine = pickle::run(bytes, version.end)?;
    if machine.tree.get(machine.value, "little_endian") != Some(Value::Bool(true)) {
        return Err("it was not written on a little-endian machine; save it anew on one".to_owned());
    }
    Ok(machine.end)
}

/// A pickle that ends early may be longer than is read.
fn early(bytes: &[u8], len: u64, reason: String) -> String {
    if reason.starts_with("the pickle ends early") && (bytes.len() as u64) < len {
        return format!("its pickles are longer than {MAX_PICKLE_BYTES} bytes, more than is read");
    }
    reason
}

/// Bytes of an element of each storage that the pickle names.
fn element_sizes<'p>(tree: &Tree<'p>) -> Result<HashMap<&'p str, u64>, String> {
    let mut sizes = HashMap::new();
    for object in &tree.objects {
        if let Object::Storage(storage) = object {
            let size = storage.dtype.map_or(1, TensorType::size);
            let key = tree.text(storage.key);
            if sizes.insert(key, size).is_some_and(|before| before != size) {
                return Err(format!("storage {key} is of two types"));
            }
        }
    }
    Ok(sizes)
}

fn texts(output: &Output<'_>) -> Result<Vec<String>, String> {
    let items = output.tree.items(output.value).ok_or("the list of storages is no list")?;
    items
        .iter()
        .map(|item| {
            let Value::Text(span) = item else { return Err("the key of a storage is no text".to_owned()) };
            Ok(output.tree.text(*span).to_owned())
        })
        .collect()
}

/// Where each storage lies, and how many elements it has.
fn places<F: Read + Seek>(
    source: &mut Source<'_, F>,
    keys: &[String],
    start: u64,
    sizes: &HashMap<&str, u64>,
) -> Result<HashMap<String, (Extent, u64)>> {
    let mut places = HashMap::with_capacity(keys.len());
    let mut at = start;
    for key in keys {
        let Some(size) = sizes.get(key.as_str()) else {
            return source.refuse(format!("storage {key} belongs to no tensor"));
        };
        let bytes = source.read(at, COUNT)?;
        let count = Fields(&bytes).u64().unwrap_or(u64::MAX);
        let offset = at + COUNT;
        let end = count.checked_mul(*size).and_then(|len| Some((len, offset.checked_add(len)?)));
        let Some((len, end)) = end.filter(|(_, end)| i64::try_from(*end).is_ok()) else {
            return source.refuse(format!("storage {key} claims {count} elements, more than can be addressed"));
        };
        if end > source.len {
            return Err(Error::Truncated { path: source.path.to_owned(), expected: end, found: source.len });
        }
        if places.insert(key.clone(), (Extent { offset, len }, count)).is_some() {
            return source.refuse(format!("storage {key} stands twice"));
        }
        at = end;
    }
    if at != source.len {
        return source.refuse(format!("{} bytes after the last storage belong to none", source.len - at));
    }
    Ok(places)
}
