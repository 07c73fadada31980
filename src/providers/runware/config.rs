//! `[providers.<id>.config]` of this kind: what stands in it and what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::air::is_air;
use super::client::Client;
use super::open_tasks::OpenTasks;
use super::schedulers;
use super::wire::{Habits, ImageInput, OutputType, SET_BY_REQUESTS, SafetyMode, WireModel};
use super::{Runware, Vendor};
use crate::fetch::Origin;
use crate::generation::{
    Defaults, ImageSize, Installed, Limits, Model, ModelKey, OnDisconnect, OpenModels, ProviderId, Support, Supports,
};
use crate::providers::declared::{self, DeclaredLimits, DeclaredSize, capabilities, support};
use crate::providers::{ApiKeys, BuildError, Built, Environment, KindConfig};
use crate::secret::{SecretRef, SecretRefs};

/// Where the vendor is.
const BASE_URL: &str = "https://api.runware.ai/v1";

/// Pictures in one task where nothing is said: the vendor takes 20, but as many of its largest would not fit into an
/// answer of the length that is read.
const USUAL_COUNT: NonZeroU32 = NonZeroU32::new(4).expect("4 is not 0");
/// The most that the vendor takes.
const MOST_COUNT: u32 = 20;

/// The size that is sent where nothing is said: the vendor has none of its own.
const USUAL_SIZE: ImageSize = ImageSize { width: USUAL_SIDE, height: USUAL_SIDE };
const USUAL_SIDE: NonZeroU32 = NonZeroU32::new(1024).expect("1024 is not 0");

/// Which account is used, and which of the vendor's models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address that tasks are sent to.
    #[serde(default = "base_url")]
    base_url: String,
    /// The key, as `{ env = "RUNWARE_API_KEY" }`.
    api_key: Option<SecretRef>,
    /// Several keys in the place of `api_key`, which take turns.
    api_keys: Option<SecretRefs>,
    /// How results come: `base64` inside the answer, or `url`, by an address that is fetched then.
    #[serde(default)]
    output_type: OutputType,
    /// What is done about pictures that are not safe for work.
    #[serde(default)]
    safety: SafetyConfig,
    /// Whether any model of the vendor's may be used by its own name, `runware/civitai:101055@128078` for one.
    #[serde(default)]
    open: bool,
    /// The models by the keys that requests use.
    models: BTreeMap<String, ModelConfig>,
}

/// `safety = { … }`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SafetyConfig {
    /// Whether the vendor is asked to check what it has made.
    check: bool,
    /// How thoroughly; absent, quickly.
    mode: Option<SafetyMode>,
    /// What becomes of pictures that the check has flagged. They are charged in any case.
    on_flag: OnFlag,
}

/// What becomes of pictures that are flagged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnFlag {
    /// They are withheld, as a refusal.
    #[default]
    Refuse,
    /// They are handed out.
    Pass,
}

/// `[providers.<id>.config.models.<key>]`. Whatever is absent counts as supported, unlimited and left to the vendor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelConfig {
    /// Its name upstream, `source:id@version`.
    air: String,
    /// Its name for people; absent, the key.
    name: Option<String>,
    /// Other names that requests may use.
    #[serde(default)]
    aliases: Vec<String>,
    /// Where pictures that the caller gives are put.
    #[serde(default)]
    image_input: ImageInput,
    /// Fields that are sent with every task as they are (`acceleratorOptions`, `providerSettings`, …).
    #[serde(default)]
    parameters: Map<String, Value>,
    /// How far it goes.
    #[serde(default)]
    limits: DeclaredLimits,
    /// Longest prompt in characters; a longer one goes to the next provider.
    max_prompt_chars: Option<NonZeroU32>,
    /// The size that is sent when none is asked for; absent, 1024x1024.
    size: Option<DeclaredSize>,
    /// The steps that are sent when none are asked for.
    steps: Option<u32>,
    /// The guidance that is sent when none is asked for.
    guidance_scale: Option<f64>,
    /// The negative prompt that is sent when none is given.
    negative_prompt: Option<String>,
    /// The scheduler that is sent when none is named.
    scheduler: Option<String>,
    /// Whether width and height are sent.
    supports_size: Option<bool>,
    /// Whether a seed is sent.
    supports_seed: Option<bool>,
    /// Whether a negative prompt is sent.
    supports_negative_prompt: Option<bool>,
    /// Whether steps are sent.
    supports_steps: Option<bool>,
    /// Whether a guidance scale is sent.
    supports_guidance_scale: Option<bool>,
    /// Whether a scheduler is sent.
    supports_scheduler: Option<bool>,
    /// Whether a picture to start from is sent.
    supports_image: Option<bool>,
    /// Whether a mask is sent.
    supports_mask: Option<bool>,
    /// Whether a strength is sent.
    supports_strength: Option<bool>,
    /// Whether pictures to look at are sent.
    supports_reference_images: Option<bool>,
    /// Whether adapters are sent.
    supports_loras: Option<bool>,
}

fn base_url() -> String {
    BASE_URL.to_owned()
}

impl KindConfig for Config {
    const KIND: &'static str = "runware";

    /// There is nothing to cancel a task with: leaving it saves nothing.
    const ON_DISCONNECT: OnDisconnect = OnDisconnect::Finish;

    fn build(self, _id: &ProviderId, environment: &Environment) -> Result<Built, BuildError> {
        let keys = ApiKeys::required(self.api_key, self.api_keys)?;
        let endpoint = declared::base_url(&self.base_url)?;
        let mut models = HashMap::new();
        let mut listed = Vec::new();
        for (key, config) in &self.models {
            let at = format!("models.{key}");
            listed.push(config.model(key, &at)?);
            models.insert(ModelKey::new(key), config.wire(&at)?);
        }
        let open = self.open.then(OpenModels::of_vendor);
        let capabilities = capabilities(listed, open, environment.default_model.as_deref())?;
        let vendor = Arc::new(Vendor {
            capabilities: Arc::new(capabilities),
            models,
            open_model: self.open.then(WireModel::of_vendor),
            habits: Habits { output_type: self.output_type, safety: self.safety.asked() },
            on_flag: self.safety.on_flag,
            origin: Origin::of(&endpoint),
            client: Client::new(endpoint),
            fetcher: Arc::clone(&environment.fetcher),
            open_tasks: OpenTasks::default(),
        });
        Ok(keys.build(|key| Arc::new(Runware { vendor: Arc::clone(&vendor), key })))
    }
}

impl SafetyConfig {
    fn asked(&self) -> Option<SafetyMode> {
        self.check.then(|| self.mode.unwrap_or(SafetyMode::Fast))
    }
}

impl OpenModels {
    /// Every model of the vendor's, of which no more is known than what most have in common.
    fn of_vendor() -> Self {
        let limits = Limits {
            max_count: Some(USUAL_COUNT),
            min_side: Some(128),
            max_side: Some(2048),
            size_multiple: NonZeroU32::new(64),
            ..Limits::default()
        };
        let template = Model {
            key: ModelKey::new(""),
            name: String::new(),
            aliases: Vec::new(),
            installed: Installed::Yes,
            price_key: None,
            digest: None,
            supports: Supports::all(Support::Undeclared),
            limits,
            defaults: Defaults { size: Some(USUAL_SIZE), ..Defaults::default() },
        };
        Self { accepts: is_air, template }
    }
}

impl WireModel {
    /// A model that is not declared, without its name.
    fn of_vendor() -> Self {
        Self {
            air: String::new(),
            image_input: ImageInput::default(),
            parameters: Map::new(),
            defaults: Defaults { size: Some(USUAL_SIZE), ..Defaults::default() },
            max_prompt_chars: None,
        }
    }
}

impl ModelConfig {
    fn model(&self, key: &str, at: &str) -> Result<Model, BuildError> {
        if key.trim().is_empty() {
            return Err(BuildError::config(at, "a model's key is not blank"));
        }
        if !is_air(&self.air) {
            let message = format!("`{}` is no name of a model: write it as in \"runware:100@1\"", self.air);
            return Err(BuildError::config(format!("{at}.air"), message));
        }
        let mut limits = self.limits.limits(&format!("{at}.limits"))?;
        if limits.max_count.is_some_and(|count| count.get() > MOST_COUNT) {
            let message = format!("it is at most {MOST_COUNT}: the vendor makes no more at once");
            return Err(BuildError::config(format!("{at}.limits.max_count"), message));
        }
        limits.max_count = limits.max_count.or(Some(USUAL_COUNT));
        Ok(Model {
            key: ModelKey::new(key),
            name: self.name.clone().unwrap_or_else(|| key.to_owned()),
            aliases: self.aliases.clone(),
            installed: Installed::Yes,
            price_key: Some(self.air.clone()),
            digest: None,
            supports: self.supports(at)?,
            limits,
            defaults: self.defaults(at)?,
        })
    }

    fn supports(&self, at: &str) -> Result<Supports, BuildError> {
        let seeded = self.image_input.starts_from_picture();
        for (name, declared) in [("supports_mask", self.supports_mask), ("supports_strength", self.supports_strength)] {
            if declared == Some(true) && !seeded {
                let message = "there is no picture to start from with this image_input: only \"seed_image\" and \
                               \"inputs_seed_image\" have one";
                return Err(BuildError::config(format!("{at}.{name}"), message));
            }
        }
        let with_seed_image = if seeded { Support::Undeclared } else { Support::No };
        Ok(Supports {
            size: support(self.supports_size, Support::Undeclared),
            seed: support(self.supports_seed, Support::Undeclared),
            negative_prompt: support(self.supports_negative_prompt, Support::Undeclared),
            steps: support(self.supports_steps, Support::Undeclared),
            guidance_scale: support(self.supports_guidance_scale, Support::Undeclared),
            scheduler: support(self.supports_scheduler, Support::Undeclared),
            image: support(self.supports_image, Support::Undeclared),
            mask: support(self.supports_mask, with_seed_image),
            strength: support(self.supports_strength, with_seed_image),
            reference_images: support(self.supports_reference_images, Support::Undeclared),
            loras: support(self.supports_loras, Support::Undeclared),
        })
    }

    fn defaults(&self, at: &str) -> Result<Defaults, BuildError> {
        let unknown = self.scheduler.as_deref().filter(|name| schedulers::find(name).is_none());
        if let Some(name) = unknown {
            let message = format!("the vendor has no scheduler called `{name}`");
            return Err(BuildError::config(format!("{at}.scheduler"), message));
        }
        Ok(Defaults {
            size: Some(self.size.map_or(USUAL_SIZE, |size| size.0)),
            steps: self.steps,
            guidance_scale: self.guidance_scale,
            negative_prompt: self.negative_prompt.clone(),
            scheduler: self.scheduler.clone(),
        })
    }

    fn wire(&self, at: &str) -> Result<WireModel, BuildError> {
        const ELSEWHERE: [&str; 2] = ["webhookURL", "uploadEndpoint"];
        let at_parameters = |message: String| BuildError::config(format!("{at}.parameters"), message);
        if let Some(name) = SET_BY_REQUESTS.into_iter().find(|name| self.parameters.contains_key(*name)) {
            return Err(at_parameters(format!("`{name}` is set by each request and cannot be fixed here")));
        }
        if let Some(name) = ELSEWHERE.into_iter().find(|name| self.parameters.contains_key(*name)) {
            return Err(at_parameters(format!("`{name}` would send the pictures elsewhere")));
        }
        let sent = |declared: Option<bool>| support(declared, Support::Undeclared).is_sent();
        // A default that the model does not understand is not sent either.
        let mut defaults = self.defaults(at)?;
        defaults.size = defaults.size.filter(|_| sent(self.supports_size));
        defaults.steps = defaults.steps.filter(|_| sent(self.supports_steps));
        defaults.guidance_scale = defaults.guidance_scale.filter(|_| sent(self.supports_guidance_scale));
        defaults.negative_prompt = defaults.negative_prompt.filter(|_| sent(self.supports_negative_prompt));
        defaults.scheduler = defaults.scheduler.filter(|_| sent(self.supports_scheduler));
        Ok(WireModel {
            air: self.air.clone(),
            image_input: self.image_input,
            parameters: self.parameters.clone(),
            defaults,
            max_prompt_chars: self.max_prompt_chars.and_then(|most| usize::try_from(most.get()).ok()),
        })
    }
}
