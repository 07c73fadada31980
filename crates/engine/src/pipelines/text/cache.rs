//! Texts that were encoded, so that a prompt that comes again needs no encoder. What was not used for longest goes first.

use std::cell::RefCell;
use std::collections::VecDeque;

use tch::{Kind, Tensor};

use crate::Result;
use crate::parts::PartKey;

/// The most bytes that texts keep. A prompt of SDXL is 0.6 MB in single precision, one of FLUX 8.
const MOST_BYTES: usize = 64 << 20;

/// Which text it is, by which encoder and in which numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TextKey {
    /// The encoder, adapters included.
    pub encoder: PartKey,
    /// What it computes in.
    pub kind: Kind,
    /// What of it is wanted: a layer of CLIP, its pooled state, T5's states.
    pub wanted: String,
    /// What goes in.
    pub ids: Vec<i64>,
}

/// What an encoder says about a text.
#[derive(Debug)]
pub struct Known {
    /// The states, or whatever is wanted first.
    pub states: Tensor,
    /// The pooled state, if there is one.
    pub pooled: Option<Tensor>,
    /// What is odd about the encoder's weights.
    pub warnings: Vec<String>,
}

/// Encoded texts of one thread.
#[derive(Debug, Default)]
pub struct TextCache(RefCell<VecDeque<(TextKey, Known)>>);

impl Known {
    fn bytes(&self) -> usize {
        let of = |tensor: &Tensor| tensor.numel().saturating_mul(tensor.kind().elt_size_in_bytes());
        of(&self.states).saturating_add(self.pooled.as_ref().map_or(0, of))
    }

    fn share(&self) -> Self {
        let pooled = self.pooled.as_ref().map(Tensor::shallow_clone);
        Self { states: self.states.shallow_clone(), pooled, warnings: self.warnings.clone() }
    }
}

impl TextCache {
    /// What is known of a text, or what `encode` says, which is known from then on. Nobody may write to it.
    pub fn get(&self, key: TextKey, encode: impl FnOnce() -> Result<Known>) -> Result<Known> {
        let mut known = self.0.borrow_mut();
        if let Some(at) = known.iter().position(|(other, _)| *other == key)
            && let Some(entry) = known.remove(at)
        {
            let found = entry.1.share();
            known.push_front(entry);
            return Ok(found);
        }
        drop(known);
        let found = encode()?;
        let mut known = self.0.borrow_mut();
        known.push_front((key, found.share()));
        let mut bytes = 0_usize;
        let fits = |(_, entry): &(TextKey, Known)| {
            bytes = bytes.saturating_add(entry.bytes());
            bytes <= MOST_BYTES
        };
        let kept = known.iter().map(fits).take_while(|fits| *fits).count();
        known.truncate(kept);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{Known, MOST_BYTES, TextCache, TextKey};
    use crate::parts::Part;

    fn key(id: i64) -> TextKey {
        let part = Part {
            name: "text_encoder".to_owned(),
            class: String::new(),
            config: serde_json::Map::new(),
            tensors: Vec::new(),
            patches: None,
        };
        TextKey { encoder: part.key(), kind: Kind::Float, wanted: "states".to_owned(), ids: vec![id] }
    }

    fn known(bytes: usize) -> Known {
        let size = i64::try_from(bytes / 4).unwrap();
        Known { states: Tensor::zeros([size], (Kind::Float, Device::Cpu)), pooled: None, warnings: Vec::new() }
    }

    #[test]
    fn keeps_what_fits_and_what_was_used_last() {
        let cache = TextCache::default();
        let encoded = std::cell::Cell::new(0);
        let get = |id, bytes| {
            cache
                .get(key(id), || {
                    encoded.set(encoded.get() + 1);
                    Ok(known(bytes))
                })
                .unwrap();
            encoded.get()
        };
        assert_eq!(get(1, MOST_BYTES / 2), 1);
        assert_eq!(get(2, MOST_BYTES / 2), 2);
        assert_eq!(get(1, MOST_BYTES / 2), 2, "known");
        assert_eq!(get(3, MOST_BYTES / 4), 3, "the second has to go");
        assert_eq!(get(1, MOST_BYTES / 2), 3);
        assert_eq!(get(2, MOST_BYTES / 2), 4);
        assert_eq!(get(4, MOST_BYTES * 2), 5);
        assert_eq!(get(4, MOST_BYTES * 2), 6, "too large to be kept");
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = TextCache::default();
        let failed = cache.get(key(1), || Err(crate::Error::internal("no")));
        assert!(failed.is_err());
        assert!(cache.get(key(1), || Ok(known(4))).is_ok());
    }
}
