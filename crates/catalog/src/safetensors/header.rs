//! The JSON of a safetensors header: a strict reading of text that may be hostile. Works on the text alone, knows no file.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::contents::{Contents, MAX_TENSORS, TensorInfo};
use crate::tensor_type::TensorType;

/// The key that holds free text about the file, and no tensor.
const METADATA: &str = "__metadata__";
/// More notes than any trainer writes.
const MAX_NOTES: usize = 4096;
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
    shape: Shape,
    data_offsets: (u64, u64),
}

impl Entry {
    /// The tensor, if it is what the bytes from `next` on must hold. `offset` stays relative to the data.
    fn check(self, name: String, next: u64) -> Result<TensorInfo, String> {
        let (begin, end) = self.data_offsets;
        let Some(dtype) = TensorType::parse(&self.dtype) else {
            return Err(format!("tensor `{name}` has the type `{}`, which is not known", short(&self.dtype)));
        };
        let shape = self.shape.0;
        let Some(len) = shape.iter().try_fold(dtype.size(), |len, axis| len.checked_mul(*axis)) else {
            return Err(format!("tensor `{name}` has the shape {shape:?}, more than can be addressed"));
        };
        if end.checked_sub(begin) != Some(len) {
            return Err(format!(
                "tensor `{name}` has bytes {begin}..{end} for {shape:?} of {dtype}, which takes {len}"
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
        Ok(TensorInfo { name, dtype, shape, strides: None, offset: begin, len })
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
                metadata = map.next_value::<Option<Notes>>()?.map_or_else(BTreeMap::new, |notes| notes.0);
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

/// The lengths of axes; no more than a tensor can have are kept.
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;
        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the lengths of axes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut axes: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(axis) = axes.next_element()? {
                    if shape.len() == MAX_AXES {
                        return Err(A::Error::custom(format!("a tensor of more than {MAX_AXES} axes")));
                    }
                    shape.push(axis);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

/// The texts of `__metadata__`. Some writers put more than texts there; what is no text tells nobody anything.
struct Notes(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NotesVisitor;
        impl<'de> Visitor<'de> for NotesVisitor {
            type Value = Notes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Notes, A::Error> {
                let mut notes = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if notes.len() == MAX_NOTES {
                        map.next_value::<IgnoredAny>()?;
                    } else if let Some(text) = map.next_value::<Note>()?.0 {
                        notes.insert(key, text);
                    }
                }
                Ok(Notes(notes))
            }
        }
        deserializer.deserialize_map(NotesVisitor)
    }
}

/// A text, or nothing where something else stands.
struct Note(Option<String>);

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NoteVisitor;
        impl<'de> Visitor<'de> for NoteVisitor {
            type Value = Note;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Note, E> {
                Ok(Note(Some(text.to_owned())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Note, E> {
                Ok(Note(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Note, E> {
                Ok(Note(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Note, E> {
                Ok(Note(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Note, E> {
                Ok(Note(None))
            }

            fn visit_unit<E>(self) -> Result<Note, E> {
                Ok(Note(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Note, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Note(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Note, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Note(None))
            }
        }
        deserializer.deserialize_any(NoteVisitor)
    }
}
