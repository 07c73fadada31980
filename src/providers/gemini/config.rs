//! `[providers.<id>.config]` of this kind: what stands in it and what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Gemini;
use super::client::Client;
use super::sizes::{self, Ratio, Resolution, Sizes};
use super::wire::WireModel;
use crate::generation::{
    AspectRatio, Defaults, Installed, Limits, Model, ModelKey, ProviderId, Ratios, Support, Supports,
};
use crate::providers::declared::{DeclaredSize, base_url, capabilities, support};
use crate::providers::{ApiKeys, BuildError, Built, Environment, KindConfig};
use crate::secret::{SecretRef, SecretRefs};

/// Where the service is and which of its models are used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address that `/models/{id}:generateContent` is appended to.
    #[serde(default = "usual_base_url")]
    base_url: String,
    /// The key, as `{ env = "GEMINI_API_KEY" }`.
    api_key: Option<SecretRef>,
    /// Several keys that take turns, in place of the one.
    api_keys: Option<SecretRefs>,
    /// The models by the keys that requests use.
    models: BTreeMap<String, ModelConfig>,
}

/// `[providers.<id>.config.models.<key>]`.
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
    /// The ratios that it makes and their pixels at 1K (or at its only resolution); absent: those of the Gemini 3
    /// models. Empty: no ratio is sent, and the model decides.
    aspect_ratios: Option<BTreeMap<String, DeclaredSize>>,
    /// The resolutions that it makes; absent: one, and none is sent.
    #[serde(default)]
    image_sizes: Vec<Resolution>,
    /// The size that is asked for when the request does not say; absent: the model decides.
    size: Option<DeclaredSize>,
    /// Whether a picture can be given to be edited.
    supports_image: Option<bool>,
    /// Whether pictures can be given to look at.
    supports_reference_images: Option<bool>,
    /// Whether a seed is sent.
    supports_seed: Option<bool>,
    /// How far it goes.
    #[serde(default)]
    limits: ModelLimits,
    /// Fields that are put into every request as they are (`safetySettings`, `generationConfig.temperature`, …).
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// `limits = { … }`: the rest follows from the ratios.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelLimits {
    /// Most pictures that it takes, the one that is edited included.
    max_reference_images: Option<u32>,
}

fn usual_base_url() -> String {
    "https://generativelanguage.googleapis.com/v1beta".to_owned()
}

impl KindConfig for Config {
    const KIND: &'static str = "gemini";

    fn build(self, _id: &ProviderId, environment: &Environment) -> Result<Built, BuildError> {
        let keys = ApiKeys::required(self.api_key, self.api_keys)?;
        let base = base_url(&self.base_url)?;
        let mut models = HashMap::new();
        let mut listed = Vec::new();
        for (key, config) in &self.models {
            let at = format!("models.{key}");
            let wire = config.wire(&base, &at)?;
            listed.push(config.model(key, &wire, &at)?);
            models.insert(ModelKey::new(key), wire);
        }
        let capabilities = Arc::new(capabilities(listed, None, environment.default_model.as_deref())?);
        let models = Arc::new(models);
        Ok(keys.build(|key| {
            Arc::new(Gemini {
                capabilities: Arc::clone(&capabilities),
                models: Arc::clone(&models),
                client: Client::new(key.secret().cloned()),
                missing_key: key.missing().cloned(),
            })
        }))
    }
}

impl ModelConfig {
    fn model(&self, key: &str, wire: &WireModel, at: &str) -> Result<Model, BuildError> {
        if key.trim().is_empty() || self.id.trim().is_empty() {
            return Err(BuildError::config(at, "a model's key and id are not blank"));
        }
        let sizes = wire.sizes.all();
        Ok(Model {
            key: ModelKey::new(key),
            name: self.name.clone().unwrap_or_else(|| key.to_owned()),
            aliases: self.aliases.clone(),
            installed: Installed::Yes,
            price_key: Some(self.id.clone()),
            digest: None,
            supports: Supports {
                size: if sizes.is_empty() { Support::No } else { Support::Yes },
                // It is taken, but nobody promises the same picture.
                seed: support(self.supports_seed, Support::Undeclared),
                image: support(self.supports_image, Support::Yes),
                reference_images: support(self.supports_reference_images, Support::Yes),
                ..Supports::all(Support::No)
            },
            limits: Limits {
                max_count: Some(NonZeroU32::MIN),
                sizes,
                // Whoever wishes for a ratio has what the model makes of it, be it some pixels off the table.
                ratios: Ratios::Passed,
                max_reference_images: self.limits.max_reference_images,
                ..Limits::default()
            },
            defaults: Defaults { size: wire.size, ..Defaults::default() },
        })
    }

    fn wire(&self, base: &Url, at: &str) -> Result<WireModel, BuildError> {
        self.check_parameters(at)?;
        let sizes = self.sizes(at)?;
        let size = self.size.map(|size| size.0);
        if let Some(size) = size.filter(|size| sizes.find(*size).is_none()) {
            let sentence = format!("{size} is no size that comes of aspect_ratios and image_sizes");
            return Err(BuildError::config(format!("{at}.size"), sentence));
        }
        Ok(WireModel {
            endpoint: endpoint(base, &self.id)?,
            sizes,
            size,
            max_pictures: self.limits.max_reference_images,
            parameters: self.parameters.clone(),
        })
    }

    fn sizes(&self, at: &str) -> Result<Sizes, BuildError> {
        let key = format!("{at}.aspect_ratios");
        let ratios: Vec<Ratio> = match &self.aspect_ratios {
            None => sizes::gemini_3(),
            Some(declared) => declared.iter().map(|(name, size)| (name.clone(), size.0)).collect(),
        };
        if let Some((name, _)) = ratios.iter().find(|(name, _)| name.parse::<AspectRatio>().is_err()) {
            return Err(BuildError::config(key, format!("`{name}` is no ratio: write it as \"16:9\"")));
        }
        Sizes::new(&ratios, &self.image_sizes)
            .map_err(|size| BuildError::config(key, format!("{size} can be asked for in two ways")))
    }

    /// What each request says itself cannot stand in the configuration.
    fn check_parameters(&self, at: &str) -> Result<(), BuildError> {
        let config = |name: &str| self.parameters.get("generationConfig").and_then(|config| config.get(name));
        let image = |name: &str| config("imageConfig").and_then(|config| config.get(name));
        let set = [
            ("contents", self.parameters.get("contents")),
            ("generationConfig.seed", config("seed")),
            ("generationConfig.candidateCount", config("candidateCount")),
            ("generationConfig.imageConfig.aspectRatio", image("aspectRatio")),
            ("generationConfig.imageConfig.imageSize", image("imageSize")),
        ];
        match set.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(BuildError::config(
                format!("{at}.parameters"),
                format!("`{name}` is set by each request and cannot be fixed here"),
            )),
            None => Ok(()),
        }
    }
}

/// `{base}/models/{id}:generateContent`, with whatever query the base has.
fn endpoint(base: &Url, id: &str) -> Result<Url, BuildError> {
    let mut url = base.clone();
    let wrong = || BuildError::config("base_url", "this is no address of an upstream: nothing can be appended to it");
    let id = id.strip_prefix("models/").unwrap_or(id);
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(["models", &format!("{id}:generateContent")]);
    Ok(url)
}
