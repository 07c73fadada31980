//! `[providers.<id>.config]` of this kind: what stands in it and what becomes of it.

pub(super) mod model;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use easel_engine_protocol::Dtype;
use serde::{Deserialize, Deserializer};

use self::model::ModelConfig;
use super::Local;
use super::adapters::Adapters;
use super::installed;
use super::launch::Launch;
use super::library::{Found, Library};
use super::supervisor::Supervisor;
use crate::byte_size;
use crate::generation::{Capabilities, Installed, LoraFiles, Model, ModelKey, ProviderId};
use crate::providers::{BuildError, Built, Environment, KindConfig};

/// Which model leads when the section names none: the first of these that is installed, then by key, then the one
/// that ships.
const PREFERRED: [&str; 3] = ["lightning_4step", "lightning_8step", "juggernaut_xi"];
const SHIPPED: &str = "shapes";

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
    /// How much memory models and pictures may take on each device, by its name: `{ cpu = "8 GiB" }`; absent: what is
    /// free.
    #[serde(default)]
    memory: BTreeMap<String, MemorySize>,
    /// Pictures of waiting requests for the same model, size, steps, scheduler and guidance that are computed together.
    #[serde(default = "default_max_batch")]
    max_batch: NonZeroU16,
    /// Number type to compute in; absent: fp32 on the processor, on a GPU fp16, or bf16 for FLUX.
    dtype: Option<Dtype>,
    /// How long the engine may take from its start until it takes jobs.
    #[serde(default = "default_ready_timeout", deserialize_with = "duration")]
    ready_timeout: Duration,
    /// The engine is ended after this long without a job, to give its memory back; absent: it stays.
    #[serde(default, deserialize_with = "some_duration")]
    idle_timeout: Option<Duration>,
    /// The models by the keys that requests use.
    models: BTreeMap<String, ModelConfig>,
    /// Adapters by the names that requests use: where each lies, as a model's `source`. Those that lie in a folder
    /// `loras` of a library root need no entry: their names are those of their files.
    #[serde(default)]
    loras: BTreeMap<String, String>,
}

impl KindConfig for Config {
    const KIND: &'static str = "local";
    // How long a picture takes is a matter of this machine, which its owner knows.
    const TAKES_ITS_TIME: bool = true;

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
                .map_err(|(place, reason)| BuildError::config(format!("{at}.{place}"), reason))?;
            listed.push(config.model(key, &found, &at)?);
            if let Found::Here(here) = found {
                models.insert(ModelKey::new(key), config.local(here, self.dtype));
            }
        }
        let adapters = Adapters::new(&self.loras, &library)
            .map_err(|(name, reason)| BuildError::config(format!("loras.{name}"), reason))?;
        let adapters = Arc::new(adapters);
        let files = Arc::clone(&adapters);
        let lora_files = Some(LoraFiles::new(move |name| files.digest(name)));
        let default_model = default_model(&listed, environment.default_model.as_deref())?;
        let launch = Launch {
            id: id.clone(),
            executable: locate(self.engine.as_ref(), environment)?,
            data_dir: environment.data_dir.clone(),
            device: self.device.clone(),
            threads: self.threads,
            memory: self.memory.into_iter().map(|(device, size)| (device, size.0)).collect(),
            max_batch: self.max_batch,
            ready_timeout: self.ready_timeout,
        };
        Ok(Built::one(Local {
            capabilities: Arc::new(Capabilities { models: listed, default_model, open: None, lora_files }),
            models,
            adapters,
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

/// Bytes, written as `"8 GiB"`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct MemorySize(u64);

impl TryFrom<String> for MemorySize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = byte_size::parse(&text).filter(|bytes| *bytes > 0);
        bytes.map(Self).ok_or_else(|| format!("`{text}` is no size of memory: write it as \"8 GiB\" or \"500 MiB\""))
    }
}

fn default_max_batch() -> NonZeroU16 {
    NonZeroU16::MIN
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
