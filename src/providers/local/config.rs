//! `[providers.<id>.config]` of this kind: what stands in it and what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use easel_engine_protocol::Dtype;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Local;
use super::installed::{self, Found, Here, Library};
use super::job::LocalModel;
use super::supervisor::{Launch, Supervisor};
use crate::generation::{Capabilities, Defaults, ImageSize, Installed, Model, ModelKey, ProviderId, Support, Supports};
use crate::providers::declared::{DeclaredLimits, DeclaredSize};
use crate::providers::{BuildError, Built, Environment, KindConfig};

/// Which model leads when the section names none: the first of these that is installed, then by key, then the one
/// that ships.
const PREFERRED: [&str; 3] = ["lightning_4step", "lightning_8step", "juggernaut_xi"];
const SHIPPED: &str = "shapes";

/// What diffusion models have in common: a side is a multiple of what the VAE makes of one latent.
const SIZE_MULTIPLE: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");
/// Longest side where a model declares none: beyond it no model of today makes sense and memory is the next obstacle.
const MAX_SIDE: u32 = 4096;

/// How the engine is started and which models it is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Path of `easel-engine`; absent: beside our own executable, else on the `PATH`.
    engine: Option<PathBuf>,
    /// `cpu` or `cuda:N`; absent: the first GPU, else the processor.
    device: Option<String>,
    /// Processor threads; absent: the engine's own choice.
    threads: Option<NonZeroU16>,
    /// Number type to compute in; absent: fp32 on the processor and fp16 on a GPU.
    dtype: Option<Dtype>,
    /// How long the engine may take from its start until it takes jobs.
    #[serde(default = "default_ready_timeout", deserialize_with = "duration")]
    ready_timeout: Duration,
    /// The engine is ended after this long without a job, to give its memory back; absent: it stays.
    #[serde(default, deserialize_with = "some_duration")]
    idle_timeout: Option<Duration>,
    /// The models by the keys that requests use.
    models: BTreeMap<String, ModelConfig>,
}

/// `[providers.<id>.config.models.<key>]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelConfig {
    /// Its name for people; absent, the key.
    name: Option<String>,
    /// Other names that requests may use.
    #[serde(default)]
    aliases: Vec<String>,
    /// Which pipeline drives it.
    pub(super) pipeline: Pipeline,
    /// Where it lies: `file:path` under a library root, or `hf:org/name[/file]`.
    pub(super) source: String,
    /// Steps when none are asked for.
    #[serde(default = "default_steps")]
    steps: NonZeroU32,
    /// Guidance when none is asked for.
    #[serde(default = "default_guidance_scale")]
    guidance_scale: f64,
    /// The negative prompt when none is given.
    negative_prompt: Option<String>,
    /// Keys that replace those of the model's own `scheduler_config.json`, as spelled there.
    scheduler: Option<Map<String, Value>>,
    /// Whether it understands a negative prompt.
    #[serde(default = "yes")]
    supports_negative_prompt: bool,
    /// The size when none is asked for; absent: the model's own.
    size: Option<DeclaredSize>,
    /// How far it goes.
    #[serde(default)]
    limits: DeclaredLimits,
}

/// The pipelines that can be declared; not every one is part of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pipeline {
    /// Stable Diffusion XL.
    Sdxl,
    /// Stable Diffusion 1 and 2.
    Sd,
    /// FLUX.
    Flux,
}

impl KindConfig for Config {
    const KIND: &'static str = "local";

    fn build(self, id: &ProviderId, environment: &Environment) -> Result<Built, BuildError> {
        if self.models.is_empty() {
            return Err(BuildError::config("models", "there is no model: declare at least one"));
        }
        let library = Library { roots: &environment.library_roots, hub_cache: environment.hub_cache.as_deref() };
        let mut listed = Vec::new();
        let mut models = HashMap::new();
        for (key, config) in &self.models {
            let at = format!("models.{key}");
            let found = installed::look(config, &library)
                .map_err(|reason| BuildError::config(format!("{at}.source"), reason))?;
            listed.push(config.model(key, &found, &at)?);
            if let Found::Here(here) = found {
                models.insert(ModelKey::new(key), config.local(here, self.dtype));
            }
        }
        let default_model = default_model(&listed, environment.default_model.as_deref())?;
        let launch = Launch {
            id: id.clone(),
            executable: locate(self.engine.as_ref(), environment)?,
            data_dir: environment.data_dir.clone(),
            device: self.device.clone(),
            threads: self.threads,
            ready_timeout: self.ready_timeout,
        };
        Ok(Built::one(Local {
            capabilities: Arc::new(Capabilities { models: listed, default_model, open: None }),
            models,
            supervisor: Supervisor::new(launch, self.idle_timeout),
        }))
    }
}

/// The engine's executable: the configured one, else the first that is found; `None` when there is none.
fn locate(configured: Option<&PathBuf>, environment: &Environment) -> Result<Option<PathBuf>, BuildError> {
    if let Some(path) = configured {
        if path.as_os_str().is_empty() {
            return Err(BuildError::config("engine", "the path is empty"));
        }
        return Ok(Some(path.clone()).filter(|path| path.is_file()));
    }
    let places = environment.executable_dirs.iter().map(|dir| dir.join("easel-engine"));
    Ok(places.into_iter().find(|path| path.is_file()))
}

/// The model that the section names, else the best that is installed.
fn default_model(models: &[Model], named: Option<&str>) -> Result<Option<ModelKey>, BuildError> {
    if let Some(name) = named {
        let found = models.iter().find(|model| model.key.as_str() == name);
        return found.map(|model| Some(model.key.clone())).ok_or_else(|| {
            BuildError::config("models", format!("default_model is `{name}`, which is not declared here"))
        });
    }
    let place = |model: &&Model| {
        let key = model.key.as_str();
        let preferred = PREFERRED.iter().position(|preferred| *preferred == key).unwrap_or(PREFERRED.len());
        (key == SHIPPED, preferred, key.to_owned())
    };
    let installed = models.iter().filter(|model| model.installed == Installed::Yes);
    Ok(installed.min_by_key(place).map(|model| model.key.clone()))
}

impl ModelConfig {
    fn model(&self, key: &str, found: &Found, at: &str) -> Result<Model, BuildError> {
        let mut limits = self.limits.limits(&format!("{at}.limits"))?;
        if limits.size_multiple.is_some_and(|multiple| multiple.get() % SIZE_MULTIPLE.get() != 0) {
            return Err(BuildError::config(format!("{at}.limits.size_multiple"), "this must be a multiple of 8"));
        }
        limits.size_multiple.get_or_insert(SIZE_MULTIPLE);
        limits.max_side.get_or_insert(MAX_SIDE);
        if !self.guidance_scale.is_finite() || self.guidance_scale < 0.0 {
            return Err(BuildError::config(format!("{at}.guidance_scale"), "this must be a number of at least 0"));
        }
        let (installed, own_size, digest) = match found {
            Found::Here(here) => (Installed::Yes, Some(here.size), Some(here.digest.clone())),
            Found::Absent { detail, remedy } => {
                (Installed::No { detail: detail.clone(), remedy: remedy.clone() }, None, None)
            }
        };
        let support = |is: bool| if is { Support::Yes } else { Support::No };
        Ok(Model {
            key: ModelKey::new(key),
            name: self.name.clone().unwrap_or_else(|| key.to_owned()),
            aliases: self.aliases.clone(),
            installed,
            price_key: None,
            digest,
            supports: Supports {
                negative_prompt: support(self.supports_negative_prompt),
                image: Support::No,
                mask: Support::No,
                strength: Support::No,
                reference_images: Support::No,
                loras: Support::No,
                ..Supports::all(Support::Yes)
            },
            limits,
            defaults: Defaults {
                size: self.size().or(own_size),
                steps: Some(self.steps.get()),
                guidance_scale: Some(self.guidance_scale),
                negative_prompt: self.negative_prompt.clone().filter(|_| self.supports_negative_prompt),
                scheduler: self.scheduler_name(),
            },
        })
    }

    fn local(&self, found: Here, dtype: Option<Dtype>) -> LocalModel {
        LocalModel {
            size: self.size().unwrap_or(found.size),
            source: found.source,
            steps: self.steps.get(),
            guidance_scale: self.guidance_scale,
            negative_prompt: self.negative_prompt.clone().filter(|_| self.supports_negative_prompt),
            scheduler: self.scheduler.clone(),
            dtype,
        }
    }

    fn size(&self) -> Option<ImageSize> {
        self.size.map(|size| size.0)
    }

    fn scheduler_name(&self) -> Option<String> {
        let name = self.scheduler.as_ref()?.get("_class_name")?.as_str()?;
        Some(name.to_owned())
    }
}

fn yes() -> bool {
    true
}

fn default_steps() -> NonZeroU32 {
    NonZeroU32::new(30).unwrap_or(NonZeroU32::MIN)
}

fn default_guidance_scale() -> f64 {
    5.0
}

fn default_ready_timeout() -> Duration {
    Duration::from_mins(1)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!("`{text}` is no duration: write it as \"90s\" or \"10m\" ({error})"))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}
