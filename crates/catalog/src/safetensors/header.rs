//! The JSON of a safetensors header: a strict reading of text that may be hostile. Works on the text alone, knows no file.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::MAX_TENSORS;
use crate::tensor_file::{Contents, TensorInfo};
use crate::tensor_type::TensorType;

/// The key that holds free text about the file, and no tensor.
const METADATA: &str = "__metadata__";
/// More axes than any network uses.
const MAX_AXES: usize = 16;

/// Reads a header; offsets are made absolute by adding `data_start`. The error is the reason alone.
pub(super) fn parse(text: &[u8], data_start: u64) -> Result<Contents, String> {
    if text.first() != Some(&b'{') {
        return Err("not safetensors: the header does not begin with `{`".to_owned());
    }
    let text = std::str::from_utf8(text).map_err(|error| format!("the header is not UTF-8: {error}"))?;
    let Header { mut entries, metadata } = serde_json::from_str(text).map_err(|error| format!("header: {error}"))?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut tensors = Vec::with_capacity(entries.len());
    let mut next = 0;
    for (name, entry) in entries {
        let tensor = entry.check(name, next)?;
        next += tensor.len;
        tensors.push(TensorInfo { offset: data_start + tensor.offset, ..tensor });
    }
    Ok(Contents { tensors, metadata, warnings: Vec::new() })
}

/// A header as it is written.
struct Header {
    entries: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Entry {
    /// The tensor, if it is what the bytes from `next` on must hold. `offset` stays relative to the data.
    fn check(self, name: String, next: u64) -> Result<TensorInfo, String> {
        let (begin, end) = self.data_offsets;
        let Some(dtype) = TensorType::parse(&self.dtype) else {
            return Err(format!("tensor `{name}` has the type `{}`, which is not known", short(&self.dtype)));
        };
        if self.shape.len() > MAX_AXES {
            return Err(format!("tensor `{name}` has {} axes, at most {MAX_AXES} are read", self.shape.len()));
        }
        let Some(len) = self.shape.iter().try_fold(dtype.size(), |len, axis| len.checked_mul(*axis)) else {
            return Err(format!("tensor `{name}` has the shape {:?}, more than can be addressed", self.shape));
        };
        if end.checked_sub(begin) != Some(len) {
            return Err(format!(
                "tensor `{name}` has bytes {begin}..{end} for {:?} of {dtype}, which takes {len}",
                self.shape
            ));
        }
        if begin != next {
            let what = if begin < next { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Err(format!("tensor `{name}` {what}: it begins at {begin}, not at {next}"));
        }
        // Twice the longest addressable length would overflow when the start of the data is added.
        if end > i64::MAX as u64 {
            return Err(format!("tensor `{name}` ends at {end}, more than can be addressed"));
        }
        Ok(TensorInfo { name, dtype, shape: self.shape, strides: None, offset: begin, len })
    }
}

/// Text from the file, cut so that an error stays a sentence.
fn short(text: &str) -> String {
    text.chars().take(32).collect()
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        let mut metadata = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.len() > 512 {
                return Err(A::Error::custom(format!("a tensor's name of {} bytes", name.len())));
            }
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("`{name}` stands twice")));
            }
            if name == METADATA {
                // Some writers put more than texts here; what is no text tells nobody anything.
                let notes = map.next_value::<Option<BTreeMap<String, Value>>>()?.unwrap_or_default();
                metadata.extend(notes.into_iter().filter_map(|(key, note)| Some((key, note.as_str()?.to_owned()))));
                continue;
            }
            if entries.len() == MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            let entry = map.next_value::<Entry>()?;
            entries.push((name, entry));
        }
        Ok(Header { entries, metadata })
    }
}
