//! `[providers.<id>.config]` of this kind: what stands in it and what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::OpenAiCompat;
use super::client::Client;
use super::wire::{FieldNames, ResponseFormat, WireModel};
use crate::generation::{Capabilities, Defaults, Installed, Model, ModelKey, ProviderId, Support, Supports};
use crate::providers::declared::{DeclaredLimits, DeclaredSize, support};
use crate::providers::{ApiKeys, BuildError, Built, Environment, KindConfig};
use crate::secret::SecretRef;

/// Where the upstream is and which of its models are used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address that `/images/generations` is appended to, `https://api.openai.com/v1` for one.
    base_url: String,
    /// The key, as `{ env = "OPENAI_API_KEY" }`; absent where the upstream asks for none.
    api_key: Option<SecretRef>,
    /// Several keys in the place of `api_key`, which take turns.
    api_keys: Option<Vec<SecretRef>>,
    /// The models by the keys that requests use.
    models: BTreeMap<String, ModelConfig>,
}

/// `[providers.<id>.config.models.<key>]`. Whatever is absent counts as supported, unlimited and left to the upstream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelConfig {
    /// Its name upstream.
    id: String,
    /// Its name for people; absent, the key.
    name: Option<String>,
    /// Other names that requests may use.
    #[serde(default)]
    aliases: Vec<String>,
    /// How pictures are asked for: `b64_json`, or `none` where the field is refused. Absent: `none` for GPT image
    /// models, which always answer base64 and refuse the field, else `b64_json`.
    response_format: Option<ResponseFormat>,
    /// Fields that are sent with every request as they are (`quality`, `background`, …).
    #[serde(default)]
    parameters: Map<String, Value>,
    /// What the upstream calls its fields, where it is not what we call ours.
    #[serde(default)]
    fields: FieldNames,
    /// How far it goes.
    #[serde(default)]
    limits: DeclaredLimits,
    /// The size that is sent when none is asked for.
    size: Option<DeclaredSize>,
    /// The steps that are sent when none are asked for.
    steps: Option<u32>,
    /// The guidance that is sent when none is asked for.
    guidance_scale: Option<f64>,
    /// The negative prompt that is sent when none is given.
    negative_prompt: Option<String>,
    /// The scheduler that is sent when none is named.
    scheduler: Option<String>,
    /// Whether `size` is sent.
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
}

impl KindConfig for Config {
    const KIND: &'static str = "openai_compat";

    fn build(self, _id: &ProviderId, environment: &Environment) -> Result<Built, BuildError> {
        let keys = ApiKeys::optional(self.api_key, self.api_keys)?;
        let endpoint = endpoint(&self.base_url)?;
        let mut models = HashMap::new();
        let mut listed = Vec::new();
        for (key, config) in &self.models {
            let at = format!("models.{key}");
            listed.push(config.model(key, &at)?);
            models.insert(ModelKey::new(key), config.wire(&at)?);
        }
        if listed.is_empty() {
            return Err(BuildError::config("models", "there is no model: declare at least one"));
        }
        let default_model = default_model(&listed, environment.default_model.as_deref())?;
        let capabilities = Arc::new(Capabilities { models: listed, default_model: Some(default_model), open: None });
        let models = Arc::new(models);
        Ok(keys.build(|key| {
            Arc::new(OpenAiCompat {
                capabilities: Arc::clone(&capabilities),
                models: Arc::clone(&models),
                client: Client::new(endpoint.clone(), key.secret().cloned()),
                missing_key: key.missing().cloned(),
            })
        }))
    }
}

/// `{base_url}/images/generations`, with whatever query the base has.
fn endpoint(base_url: &str) -> Result<Url, BuildError> {
    // The address itself is not repeated: it may hold what should not be in a log.
    let wrong = |why: &str| BuildError::config("base_url", format!("this is no address of an upstream: {why}"));
    let mut url = Url::parse(base_url).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("keys belong into api_key, not into the address"));
    }
    url.set_fragment(None);
    let mut path = url.path_segments_mut().map_err(|()| wrong("nothing can be appended to it"))?;
    path.pop_if_empty().extend(["images", "generations"]);
    drop(path);
    Ok(url)
}

/// The model that the section names, else the first.
fn default_model(models: &[Model], named: Option<&str>) -> Result<ModelKey, BuildError> {
    let found = match named {
        None => models.first(),
        Some(name) => models.iter().find(|model| model.key.as_str() == name),
    };
    found.map(|model| model.key.clone()).ok_or_else(|| {
        let name = named.unwrap_or_default();
        BuildError::config("models", format!("default_model is `{name}`, which is not declared here"))
    })
}

impl ModelConfig {
    fn model(&self, key: &str, at: &str) -> Result<Model, BuildError> {
        if key.trim().is_empty() || self.id.trim().is_empty() {
            return Err(BuildError::config(at, "a model's key and id are not blank"));
        }
        Ok(Model {
            key: ModelKey::new(key),
            name: self.name.clone().unwrap_or_else(|| key.to_owned()),
            aliases: self.aliases.clone(),
            installed: Installed::Yes,
            price_key: Some(self.id.clone()),
            supports: Supports {
                size: support(self.supports_size, Support::Undeclared),
                seed: support(self.supports_seed, Support::Undeclared),
                negative_prompt: support(self.supports_negative_prompt, Support::Undeclared),
                steps: support(self.supports_steps, Support::Undeclared),
                guidance_scale: support(self.supports_guidance_scale, Support::Undeclared),
                scheduler: support(self.supports_scheduler, Support::Undeclared),
                image: Support::No,
                mask: Support::No,
                strength: Support::No,
                reference_images: Support::No,
                loras: Support::No,
            },
            limits: self.limits.limits(&format!("{at}.limits"))?,
            defaults: self.defaults(),
        })
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            size: self.size.map(|size| size.0),
            steps: self.steps,
            guidance_scale: self.guidance_scale,
            negative_prompt: self.negative_prompt.clone(),
            scheduler: self.scheduler.clone(),
        }
    }

    fn wire(&self, at: &str) -> Result<WireModel, BuildError> {
        const OURS: [&str; 4] = ["model", "prompt", "n", "size"];
        if let Some(name) = OURS.into_iter().find(|name| self.parameters.contains_key(*name)) {
            return Err(BuildError::config(
                format!("{at}.parameters"),
                format!("`{name}` is set by each request and cannot be fixed here"),
            ));
        }
        let answers_base64 = self.id.starts_with("gpt-image") || self.id.starts_with("chatgpt-image");
        let usual = if answers_base64 { ResponseFormat::None } else { ResponseFormat::B64Json };
        let sent = |declared: Option<bool>| support(declared, Support::Undeclared).is_sent();
        // A default that the model does not understand is not sent either.
        let mut defaults = self.defaults();
        defaults.size = defaults.size.filter(|_| sent(self.supports_size));
        defaults.steps = defaults.steps.filter(|_| sent(self.supports_steps));
        defaults.guidance_scale = defaults.guidance_scale.filter(|_| sent(self.supports_guidance_scale));
        defaults.negative_prompt = defaults.negative_prompt.filter(|_| sent(self.supports_negative_prompt));
        defaults.scheduler = defaults.scheduler.filter(|_| sent(self.supports_scheduler));
        Ok(WireModel {
            id: self.id.clone(),
            response_format: self.response_format.unwrap_or(usual),
            parameters: self.parameters.clone(),
            fields: self.fields.clone(),
            defaults,
        })
    }
}
