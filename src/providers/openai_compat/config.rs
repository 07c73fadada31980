//! `[providers.<id>.config]` of this kind: what stands in it and what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::client::Client;
use super::dialect::DialectName;
use super::easel::Fallback;
use super::model_config::ModelConfig;
use super::{OpenAiCompat, Upstream};
use crate::generation::ProviderId;
use crate::providers::declared::{base_url, capabilities};
use crate::providers::{ApiKeys, BuildError, Built, Environment, KindConfig};
use crate::secret::{SecretRef, SecretRefs};

/// Where the upstream is, how it speaks, and which of its models are used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address that `/images/generations` is appended to, `https://api.openai.com/v1` for one.
    base_url: String,
    /// How it speaks.
    #[serde(default)]
    dialect: DialectName,
    /// The key, as `{ env = "OPENAI_API_KEY" }`; absent where the upstream asks for none.
    api_key: Option<SecretRef>,
    /// Several keys in the place of `api_key`, which take turns.
    api_keys: Option<SecretRefs>,
    /// Headers that are sent with every request, such as `OpenAI-Organization`; no secrets.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Whether another Easel may fall back.
    fallback: Option<Fallback>,
    /// The models by the keys that requests use. Another Easel needs none: it chooses.
    #[serde(default)]
    models: BTreeMap<String, ModelConfig>,
}

/// The key of the one model of another Easel that declares none.
const ANY: &str = "any";

impl KindConfig for Config {
    const KIND: &'static str = "openai_compat";

    fn build(mut self, _id: &ProviderId, environment: &Environment) -> Result<Built, BuildError> {
        let keys = ApiKeys::optional(self.api_key, self.api_keys)?;
        let base = base_url(&self.base_url)?;
        let headers = headers(&self.headers)?;
        let is_easel = self.dialect == DialectName::Easel;
        if self.fallback.is_some() && !is_easel {
            return Err(BuildError::config("fallback", "it is for dialect = \"easel\" only"));
        }
        if is_easel && self.models.is_empty() {
            self.models.insert(ANY.to_owned(), ModelConfig::any_of_easel());
        }
        let mut models = HashMap::new();
        let mut listed = Vec::new();
        for (key, config) in self.models {
            let at = format!("models.{key}");
            let (model, spoken) = config.build(&key, self.dialect, self.fallback, &at)?;
            models.insert(model.key.clone(), spoken);
            listed.push(model);
        }
        let capabilities = Arc::new(capabilities(listed, None, environment.default_model.as_deref())?);
        let models = Arc::new(models);
        Ok(keys.build(|key| {
            Arc::new(OpenAiCompat {
                capabilities: Arc::clone(&capabilities),
                models: Arc::clone(&models),
                upstream: Upstream {
                    client: Client::new(base.clone(), key.secret().cloned(), headers.clone()),
                    fetcher: Arc::clone(&environment.fetcher),
                },
                missing_key: key.missing().cloned(),
            })
        }))
    }
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, BuildError> {
    /// What is Easel's own to say.
    const OURS: [&str; 9] = [
        "accept",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "transfer-encoding",
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let at = format!("headers.{name}");
        let name: HeaderName = name.parse().map_err(|_| BuildError::config(&at, "this is no name of a header"))?;
        if OURS.contains(&name.as_str()) {
            return Err(BuildError::config(
                at,
                "this header is not for the configuration to set; keys go into api_key",
            ));
        }
        let value =
            HeaderValue::from_str(value).map_err(|_| BuildError::config(&at, "this cannot stand in a header"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}
