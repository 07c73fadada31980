//! Finished pictures, for the same request again: in memory, bounded in bytes and in time.
//!
//! It knows keys and pictures, and neither requests nor providers. Failures never come here.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;

use super::key::Key;
use crate::generation::Generation;

/// What an entry costs beside its pictures.
const OVERHEAD: usize = 1024;

/// `[cache]`: how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes in all; 0: nothing is kept.
    pub max_bytes: u64,
    /// Bytes of the pictures of one request; larger ones are not kept.
    pub max_entry: u64,
    /// How long pictures are kept.
    pub ttl: Duration,
}

/// How an answer came to its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// They were kept from an earlier request: nothing was sent and nothing paid.
    Hit,
    /// They were made for this request, and are kept for the next one.
    Miss,
    /// They were made for another request that was under way: nothing more was sent or paid.
    Coalesced,
    /// They were made for this request alone.
    Bypass,
}

impl CacheOutcome {
    /// As it stands in answers, headers and figures.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Bypass => "bypass",
        }
    }
}

/// The pictures that are kept.
pub(super) struct Cache {
    kept: Option<moka::sync::Cache<Key, Arc<Generation>>>,
    max_entry: u64,
}

impl Cache {
    pub(super) fn new(limits: CacheLimits) -> Self {
        let kept = (limits.max_bytes > 0).then(|| {
            moka::sync::Cache::builder()
                .max_capacity(limits.max_bytes)
                .weigher(|_, generation: &Arc<Generation>| u32::try_from(weight(generation)).unwrap_or(u32::MAX))
                .time_to_live(limits.ttl)
                // The usual policy keeps what is asked for often and turns newcomers away: a picture is asked for again
                // soon or not at all.
                .eviction_policy(EvictionPolicy::lru())
                .build()
        });
        Self { kept, max_entry: limits.max_entry.min(limits.max_bytes) }
    }

    /// Whether anything is kept at all.
    pub(super) fn is_on(&self) -> bool {
        self.kept.is_some()
    }

    /// The pictures of this key, as an answer that cost nothing.
    pub(super) fn get(&self, key: &Key) -> Option<Generation> {
        let kept = self.kept.as_ref()?.get(key)?;
        Some(free_of_charge(&kept))
    }

    /// Keeps these pictures if they are not too large.
    pub(super) fn keep(&self, key: Key, generation: &Generation) {
        if let Some(kept) = self.kept.as_ref().filter(|_| weight(generation) as u64 <= self.max_entry) {
            kept.insert(key, Arc::new(generation.clone()));
        }
    }

    /// Brings the bytes below their bound after something was kept; otherwise that would be put off for a while.
    pub(super) fn tidy(&self) {
        if let Some(kept) = &self.kept {
            kept.run_pending_tasks();
        }
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.as_ref().map_or(0, moka::sync::Cache::weighted_size)
    }
}

/// The same pictures for somebody who did not have to pay for them.
pub(super) fn free_of_charge(generation: &Generation) -> Generation {
    Generation { cost_usd: Some(0.0), usage: None, ..generation.clone() }
}

fn weight(generation: &Generation) -> usize {
    let pictures = generation.images.iter().map(|image| image.data.held() + size_of_val(image));
    let words = generation.warnings.iter().map(String::len);
    pictures.chain(words).fold(OVERHEAD, usize::saturating_add)
}
