//! The words with which every kind of provider declares its models, and what they become.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::BuildError;
use crate::generation::{ImageSize, Limits, Support};

/// Longer sides are not pictures of today, and arithmetic on them would need care.
const MAX_SIDE: u32 = 1 << 16;

/// `limits = { … }` of a model; every key may be absent, which is no limit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredLimits {
    /// Pictures in one call; more are split into several calls.
    pub max_count: Option<NonZeroU32>,
    /// The only sizes that the model makes, as in `"1024x1024"`.
    pub sizes: Vec<DeclaredSize>,
    /// Shortest side in pixels.
    pub min_side: Option<NonZeroU32>,
    /// Longest side in pixels.
    pub max_side: Option<NonZeroU32>,
    /// Both sides are multiples of this.
    pub size_multiple: Option<NonZeroU32>,
    /// Most pixels in all.
    pub max_pixels: Option<u64>,
    /// Most steps.
    pub max_steps: Option<NonZeroU32>,
    /// Most reference images; 0 where none are taken.
    pub max_reference_images: Option<u32>,
    /// Most adapters; 0 where none are taken.
    pub max_loras: Option<u32>,
}

/// `supports_…` of a model: what is declared, else what the kind knows (undeclared counts as supported and is sent).
pub fn support(declared: Option<bool>, usual: Support) -> Support {
    match declared {
        None => usual,
        Some(true) => Support::Yes,
        Some(false) => Support::No,
    }
}

/// A size written as `"1024x1024"`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct DeclaredSize(pub ImageSize);

impl TryFrom<String> for DeclaredSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let size = text.parse().map_err(|()| format!("`{text}` is no size: write it as \"1024x1024\""));
        size.map(Self)
    }
}

impl DeclaredLimits {
    /// The limits, after checking that some size is within them. `key` is where they stand.
    pub fn limits(&self, key: &str) -> Result<Limits, BuildError> {
        let limits = Limits {
            max_count: self.max_count,
            sizes: self.sizes.iter().map(|size| size.0).collect(),
            min_side: self.min_side.map(NonZeroU32::get),
            max_side: self.max_side.map(NonZeroU32::get),
            size_multiple: self.size_multiple,
            max_pixels: self.max_pixels,
            max_steps: self.max_steps.map(NonZeroU32::get),
            max_reference_images: self.max_reference_images,
            max_loras: self.max_loras,
        };
        let given = [self.min_side, self.max_side, self.size_multiple];
        if given.into_iter().flatten().any(|length| length.get() > MAX_SIDE) {
            return Err(BuildError::config(key, format!("a side is at most {MAX_SIDE} pixels")));
        }
        let least = u64::from(limits.min_side.unwrap_or(1));
        let multiple = u64::from(limits.size_multiple.map_or(1, NonZeroU32::get));
        let least = least.div_ceil(multiple) * multiple;
        let too_long = limits.max_side.is_some_and(|most| least > u64::from(most));
        let too_many = limits.max_pixels.is_some_and(|most| least * least > most);
        if too_long || too_many {
            return Err(BuildError::config(key, "no size is within min_side, max_side, max_pixels and size_multiple"));
        }
        Ok(limits)
    }
}

impl BuildError {
    /// What is wrong with the key at this dotted path.
    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { key: key.into(), message: message.into() }
    }
}
