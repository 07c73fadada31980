//! How a section of the configuration becomes a provider.

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Provider;
use crate::fetch::Fetcher;
use crate::generation::{OnDisconnect, ProviderId};
use crate::nearest::nearest;

/// A kind of provider: the code behind `kind = "…"`.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The name in the configuration.
    pub name: &'static str,
    /// What becomes of the work when its client leaves, where the configuration does not say.
    pub on_disconnect: OnDisconnect,
    /// Whether its turns take as long as its policy allows, where the configuration does not say.
    pub takes_its_time: bool,
    build: Build,
}

/// Makes a provider from its id and its own half of a section.
type Build = fn(&ProviderId, Value, &Environment) -> Result<Built, BuildError>;

/// A kind's own half of a section: `[providers.<id>.config]`.
pub trait KindConfig: DeserializeOwned {
    /// The name in the configuration.
    const KIND: &'static str;

    /// What becomes of the work when its client leaves, where the configuration does not say.
    const ON_DISCONNECT: OnDisconnect = OnDisconnect::Cancel;

    /// Whether its turns take as long as its policy allows instead of what is left of `[routing] deadline`, where the
    /// configuration does not say.
    const TAKES_ITS_TIME: bool = false;

    /// Makes the provider, once for each of its keys. It connects to nothing and starts nothing.
    fn build(self, id: &ProviderId, environment: &Environment) -> Result<Built, BuildError>;
}

/// What a section becomes: the same provider once for each of its keys.
pub struct Built {
    /// With the first key, or with none.
    pub first: Arc<dyn Provider>,
    /// With each further key.
    pub others: Vec<Arc<dyn Provider>>,
}

impl Built {
    /// A provider that needs no choice between keys.
    pub fn one(provider: impl Provider + 'static) -> Self {
        Self { first: Arc::new(provider), others: Vec::new() }
    }
}

impl From<Arc<dyn Provider>> for Built {
    fn from(first: Arc<dyn Provider>) -> Self {
        Self { first, others: Vec::new() }
    }
}

/// What every kind gets from the process.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The model key that the section's `default_model` names, if it does.
    pub default_model: Option<String>,
    /// `[library] roots`, resolved to folders that exist, in order.
    pub library_roots: Vec<PathBuf>,
    /// The Hugging Face cache, which other programs fill: the folder of `models--org--name`.
    pub hub_cache: Option<PathBuf>,
    /// Where programs of ours may lie: beside the one that runs, then on the `PATH`.
    pub executable_dirs: Vec<PathBuf>,
    /// `[storage] data_dir`: where sockets and state may lie.
    pub data_dir: PathBuf,
    /// The one way to whatever a URL leads to that an upstream answers.
    pub fetcher: Arc<Fetcher>,
}

/// Why a section cannot become a provider.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The section's `config` does not fit its kind.
    #[error("{key}: {message}")]
    Config {
        /// The key's path below the section's `config`, dotted; empty for the whole.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Kind {
    /// The kind whose configuration is `C`.
    pub const fn of<C: KindConfig>() -> Self {
        Self {
            name: C::KIND,
            on_disconnect: C::ON_DISCONNECT,
            takes_its_time: C::TAKES_ITS_TIME,
            build: build_kind::<C>,
        }
    }

    /// Makes a provider of this kind from a section's `config`.
    pub fn build(&self, id: &ProviderId, config: Value, environment: &Environment) -> Result<Built, BuildError> {
        (self.build)(id, config, environment)
    }
}

fn build_kind<C: KindConfig>(id: &ProviderId, config: Value, environment: &Environment) -> Result<Built, BuildError> {
    let config: C = serde_path_to_error::deserialize(config).map_err(|error| {
        let key = error.path().to_string();
        let message = with_nearest(&error.into_inner().to_string());
        // The path of the whole is a dot.
        BuildError::Config { key: if key == "." { String::new() } else { key }, message }
    })?;
    config.build(id, environment)
}

/// Serde's sentence about an unknown key or value, with the nearest known one in place of the list of all of them.
fn with_nearest(message: &str) -> String {
    let Some((unknown, known)) = message.split_once(", expected ") else {
        return message.to_owned();
    };
    let quoted = |text: &str| {
        let names = text.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let (names, known) = (quoted(unknown), quoted(known));
    let nearest = names.first().and_then(|name| nearest(name, known.iter().map(String::as_str)));
    match nearest {
        Some(nearest) => format!("{unknown}; the nearest is `{nearest}`"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::with_nearest;

    #[test]
    fn an_unknown_key_is_told_with_the_nearest() {
        let message = "unknown field `modles`, expected one of `base_url`, `api_key`, `models`";
        assert_eq!(with_nearest(message), "unknown field `modles`; the nearest is `models`");
        let far = "unknown field `zzz`, expected `base_url` or `models`";
        assert_eq!(with_nearest(far), far);
        assert_eq!(with_nearest("missing field `id`"), "missing field `id`");
    }
}
