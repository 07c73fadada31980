//! What a provider's models can do.

use std::num::NonZeroU32;

use super::{ImageSize, ModelKey};

/// A provider's models.
#[derive(Debug, Clone, PartialEq)]
pub struct Capabilities {
    /// Its models, in the order in which they are shown.
    pub models: Vec<Model>,
    /// The one used when none is named; `None` when nothing can be used.
    pub default_model: Option<ModelKey>,
}

impl Capabilities {
    /// The model with this key or alias.
    pub fn find(&self, name: &str) -> Option<&Model> {
        self.models
            .iter()
            .find(|model| model.key.as_str() == name)
            .or_else(|| self.models.iter().find(|model| model.aliases.iter().any(|alias| alias == name)))
    }
}

/// One model and what a form needs to know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its key within the provider.
    pub key: ModelKey,
    /// Its name for people.
    pub name: String,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// Whether it can be used without fetching anything.
    pub installed: Installed,
    /// What it understands.
    pub supports: Supports,
    /// How far it goes.
    pub limits: Limits,
    /// What it uses when nothing is said.
    pub defaults: Defaults,
}

/// Whether a model's files are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// They are, or the model lives upstream.
    Yes,
    /// They are not.
    No {
        /// What is missing or broken, for people.
        detail: String,
        /// What brings it here.
        remedy: String,
    },
}

/// Whether a wish is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody said; it counts as supported and is sent.
    Undeclared,
}

impl Support {
    /// Whether the wish is sent.
    pub fn is_sent(self) -> bool {
        match self {
            Self::Yes | Self::Undeclared => true,
            Self::No => false,
        }
    }
}

/// Which wishes a model understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supports {
    /// `width` and `height`.
    pub size: Support,
    /// `seed`.
    pub seed: Support,
    /// `negative_prompt`.
    pub negative_prompt: Support,
    /// `steps`.
    pub steps: Support,
    /// `guidance_scale`.
    pub guidance_scale: Support,
    /// `scheduler`.
    pub scheduler: Support,
}

/// How far a model goes; `None` is no limit of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Pictures in one upstream call; more are split into several calls.
    pub max_count: Option<NonZeroU32>,
    /// The only sizes it makes; empty: any within the other limits.
    pub sizes: Vec<ImageSize>,
    /// Shortest side in pixels.
    pub min_side: Option<u32>,
    /// Longest side in pixels.
    pub max_side: Option<u32>,
    /// Both sides are multiples of this.
    pub size_multiple: Option<NonZeroU32>,
    /// Most pixels in all.
    pub max_pixels: Option<u64>,
    /// Most steps.
    pub max_steps: Option<u32>,
}

/// What a model uses when nothing is said; `None` where only the provider knows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    /// Its size.
    pub size: Option<ImageSize>,
    /// Its steps.
    pub steps: Option<u32>,
    /// Its guidance.
    pub guidance_scale: Option<f64>,
    /// Its negative prompt.
    pub negative_prompt: Option<String>,
    /// Its scheduler.
    pub scheduler: Option<String>,
}
