//! Files of `torch.save` since 1.6: a zip of `<root>/data.pkl`, which says what there is, and `<root>/data/<key>`, which are
//! the bytes. They are stored, not compressed, so that tensors are mapped where they lie. Nothing is decompressed.

mod directory;

use std::collections::HashMap;
use std::io::{Read, Seek};

use crate::Result;
use crate::bytes::Source;
use crate::contents::Contents;
use crate::pickle::{self, Extent, MAX_PICKLE_BYTES};

use directory::Entry;

/// What a zip begins with.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

const PICKLE: &str = "data.pkl";
/// The longest `byteorder` that is read: it is `little` or `big`.
const MAX_BYTE_ORDER: u64 = 16;

/// Reads what the file says about its tensors.
pub(crate) fn contents<F: Read + Seek>(source: &mut Source<'_, F>) -> Result<Contents> {
    let entries = directory::read(source)?;
    let root = match root(&entries) {
        Ok(root) => root.to_owned(),
        Err(reason) => return source.refuse(reason),
    };
    let mut by_name: HashMap<&str, Extent> = HashMap::with_capacity(entries.len());
    for entry in &entries {
        if let Some(name) = entry.name.strip_prefix(root.as_str()).and_then(|rest| rest.strip_prefix('/')) {
            by_name.insert(name, entry.data);
        }
    }
    if by_name.keys().any(|name| name.starts_with("code/") || *name == "constants.pkl") {
        return source.refuse("a TorchScript program, not weights; save the state_dict() of the model instead");
    }
    if let Some(place) = by_name.get("byteorder") {
        let order = source.read(place.offset, place.len.min(MAX_BYTE_ORDER))?;
        if order != b"little" {
            return source.refuse("its byteorder is not little; save it anew on a little-endian machine");
        }
    }
    let Some(place) = by_name.get(PICKLE) else { return source.refuse("it has no data.pkl") };
    if place.len > MAX_PICKLE_BYTES {
        return source.refuse(format!("data.pkl has {} bytes, at most {MAX_PICKLE_BYTES} are read", place.len));
    }
    let bytes = source.read(place.offset, place.len)?;
    let read = || {
        let output = pickle::run(&bytes, 0)?;
        if output.end != bytes.len() {
            return Err(format!("data.pkl goes on for {} bytes after its end", bytes.len() - output.end));
        }
        let dict = pickle::state_dict(&output.tree, output.value)?;
        let tensors = pickle::infos(&output.tree, &dict, source.len, |_, key| {
            let found = by_name.get(format!("data/{key}").as_str()).copied();
            found.ok_or_else(|| format!("its storage data/{key} is not in the file"))
        })?;
        Ok(Contents { tensors, metadata: dict.notes, warnings: pickle::warnings(&output.foreign) })
    };
    read().or_else(|reason: String| source.refuse(reason))
}

/// The folder that everything lies in: the one with `data.pkl` in it. The error is the reason alone.
fn root(entries: &[Entry]) -> Result<&str, String> {
    let mut roots = entries.iter().filter_map(|entry| match entry.name.rsplit_once('/') {
        Some((root, PICKLE)) => Some(root),
        _ => None,
    });
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root),
        (None, _) => Err("a zip without data.pkl: not written by torch.save".to_owned()),
        (Some(first), Some(second)) => Err(format!("two pickles: {first}/data.pkl and {second}/data.pkl")),
    }
}
