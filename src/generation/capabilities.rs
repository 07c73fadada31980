//! What a provider's models can do.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::{ImageSize, ModelKey};

/// A provider's models.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capabilities {
    /// Its models, in the order in which they are shown.
    pub models: Vec<Model>,
    /// The one used when none is named; `None` when nothing can be used.
    pub default_model: Option<ModelKey>,
    /// Models beyond those that are listed.
    pub open: Option<OpenModels>,
    /// What the adapters are, by the names that requests use; `None` where only the provider knows.
    pub lora_files: Option<LoraFiles>,
}

/// What tells adapters of the same name apart where their files may be replaced at any time.
#[derive(Clone)]
pub struct LoraFiles(Arc<Digest>);

type Digest = dyn Fn(&str) -> Option<String> + Send + Sync;

impl LoraFiles {
    /// `digest` gives the digest of what lies behind a name now, without reading it; `None` where there is nothing.
    pub fn new(digest: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(digest))
    }

    /// What lies behind the name now: another content has another digest.
    pub fn digest(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

impl fmt::Debug for LoraFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoraFiles")
    }
}

impl PartialEq for LoraFiles {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Models that nobody lists: every key that has the right form is one.
#[derive(Debug, Clone)]
pub struct OpenModels {
    /// Whether a key has the form.
    pub accepts: fn(&str) -> bool,
    /// What such a model can do; its key and name are put in.
    pub template: Model,
}

impl PartialEq for OpenModels {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.accepts, other.accepts) && self.template == other.template
    }
}

impl OpenModels {
    /// The model of this key, if it has the form.
    pub fn model(&self, key: &str) -> Option<Model> {
        let model = || Model { key: ModelKey::new(key), name: key.to_owned(), ..self.template.clone() };
        (self.accepts)(key).then(model)
    }
}

impl Capabilities {
    /// The model with this key or alias; an open one where none is listed.
    pub fn find(&self, name: &str) -> Option<Cow<'_, Model>> {
        let listed = self
            .models
            .iter()
            .find(|model| model.key.as_str() == name)
            .or_else(|| self.models.iter().find(|model| model.aliases.iter().any(|alias| alias == name)));
        listed.map(Cow::Borrowed).or_else(|| self.open.as_ref()?.model(name).map(Cow::Owned))
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
    /// What the price table knows it by: its name upstream.
    pub price_key: Option<String>,
    /// What its files are, where they are here: another content has another digest. `None` where only the provider
    /// knows.
    pub digest: Option<String>,
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
    /// `image`.
    pub image: Support,
    /// `mask`, with an image.
    pub mask: Support,
    /// `strength`, with an image.
    pub strength: Support,
    /// `reference_images`.
    pub reference_images: Support,
    /// `loras`.
    pub loras: Support,
}

impl Supports {
    /// The same for every wish.
    pub fn all(support: Support) -> Self {
        Self {
            size: support,
            seed: support,
            negative_prompt: support,
            steps: support,
            guidance_scale: support,
            scheduler: support,
            image: support,
            mask: support,
            strength: support,
            reference_images: support,
            loras: support,
        }
    }
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
    /// Fewest pixels in all.
    pub min_pixels: Option<u64>,
    /// Most pixels in all.
    pub max_pixels: Option<u64>,
    /// How many times as long as the shorter side the longer one may be.
    pub max_ratio: Option<NonZeroU32>,
    /// What becomes of a wished ratio.
    pub ratios: Ratios,
    /// Most steps.
    pub max_steps: Option<u32>,
    /// Most reference images.
    pub max_reference_images: Option<u32>,
    /// Most adapters.
    pub max_loras: Option<u32>,
}

/// What becomes of a wished ratio, and of the size of a given picture where no size is wished for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ratios {
    /// A size within the limits is made of it.
    #[default]
    Sized,
    /// It is passed on as it is: the provider makes a size of it by itself.
    Passed,
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
