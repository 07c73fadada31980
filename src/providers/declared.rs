//! The words with which every kind of provider declares its models, and what they become.

use std::num::NonZeroU32;

use reqwest::Url;
use serde::Deserialize;

use super::BuildError;
use crate::generation::{Capabilities, ImageSize, Limits, Model, OpenModels, Support};

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
    /// Fewest pixels in all.
    pub min_pixels: Option<u64>,
    /// Most pixels in all.
    pub max_pixels: Option<u64>,
    /// How many times as long as the shorter side the longer one may be.
    pub max_ratio: Option<NonZeroU32>,
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

/// The address that an upstream's paths are appended to, with whatever query it has.
///
/// # Errors
/// [`BuildError::Config`] at `base_url` when it is none, or holds a key.
pub fn base_url(text: &str) -> Result<Url, BuildError> {
    // The address itself is not repeated: it may hold what should not be in a log.
    let wrong = |why: &str| BuildError::config("base_url", format!("this is no address of an upstream: {why}"));
    let mut url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    let has_key = url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("key"));
    if !url.username().is_empty() || url.password().is_some() || has_key {
        return Err(wrong("keys belong into api_key, not into the address"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// What a section declares, with the model that it names as its default, else its first.
///
/// # Errors
/// [`BuildError::Config`] at `models` when there is none, or none of that name.
pub fn capabilities(
    models: Vec<Model>,
    open: Option<OpenModels>,
    default: Option<&str>,
) -> Result<Capabilities, BuildError> {
    let Some(first) = models.first() else {
        return Err(BuildError::config("models", "there is no model: declare at least one"));
    };
    let default_model = match default {
        None => first.key.clone(),
        Some(name) => {
            let listed = models.iter().find(|model| model.key.as_str() == name).map(|model| model.key.clone());
            listed.or_else(|| Some(open.as_ref()?.model(name)?.key)).ok_or_else(|| {
                BuildError::config("models", format!("default_model is `{name}`, which is not declared here"))
            })?
        }
    };
    Ok(Capabilities { models, default_model: Some(default_model), open, lora_files: None })
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
        self.limits_over(Limits::default(), key)
    }

    /// The same, with the kind's own limits where none are declared.
    pub fn limits_over(&self, usual: Limits, key: &str) -> Result<Limits, BuildError> {
        let sizes: Vec<_> = self.sizes.iter().map(|size| size.0).collect();
        let limits = Limits {
            max_count: self.max_count.or(usual.max_count),
            sizes: if sizes.is_empty() { usual.sizes } else { sizes },
            min_side: self.min_side.map(NonZeroU32::get).or(usual.min_side),
            max_side: self.max_side.map(NonZeroU32::get).or(usual.max_side),
            size_multiple: self.size_multiple.or(usual.size_multiple),
            min_pixels: self.min_pixels.or(usual.min_pixels),
            max_pixels: self.max_pixels.or(usual.max_pixels),
            max_ratio: self.max_ratio.or(usual.max_ratio),
            ratios: usual.ratios,
            max_steps: self.max_steps.map(NonZeroU32::get).or(usual.max_steps),
            max_reference_images: self.max_reference_images.or(usual.max_reference_images),
            max_loras: self.max_loras.or(usual.max_loras),
        };
        let given = [self.min_side, self.max_side, self.size_multiple];
        if given.into_iter().flatten().any(|length| length.get() > MAX_SIDE) {
            return Err(BuildError::config(key, format!("a side is at most {MAX_SIDE} pixels")));
        }
        let least = u64::from(limits.min_side.unwrap_or(1));
        let multiple = u64::from(limits.size_multiple.map_or(1, NonZeroU32::get));
        // The smallest square that is large enough, which every ratio allows.
        let fewest = limits.min_pixels.unwrap_or(0);
        let least = least.max(fewest.isqrt() + u64::from(fewest.isqrt().pow(2) < fewest));
        let least = least.div_ceil(multiple) * multiple;
        let too_long = limits.max_side.is_some_and(|most| least > u64::from(most));
        let too_many = limits.max_pixels.is_some_and(|most| least.saturating_mul(least) > most);
        if too_long || too_many {
            let keys = "min_side, max_side, min_pixels, max_pixels and size_multiple";
            return Err(BuildError::config(key, format!("no size is within {keys}")));
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
