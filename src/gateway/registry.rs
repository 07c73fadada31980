//! The configured providers, in the order that everything else starts from.

use std::sync::Arc;
use std::time::Duration;

use crate::generation::{ModelId, ModelKey, OnDisconnect, ProviderId};
use crate::providers::Provider;
use crate::providers::layers::Gauges;

/// A provider and the gateway's half of its section.
#[derive(Clone)]
pub struct Registered {
    /// The section's id.
    pub id: ProviderId,
    /// The kind's name.
    pub kind: &'static str,
    /// Its name for people.
    pub display_name: String,
    /// What it is, for people.
    pub description: String,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// Lower is tried earlier.
    pub priority: i32,
    /// What becomes of its work when nobody waits for it any more, where the request does not say.
    pub on_disconnect: OnDisconnect,
    /// What its turn may take in place of what is left of `[routing] deadline`, which its turn does not count to.
    pub deadline: Option<Duration>,
    /// The provider in its layers.
    pub provider: Arc<dyn Provider>,
    /// What its layers know beside its answers.
    pub gauges: Arc<Gauges>,
}

/// All enabled providers, by ascending priority and then by id.
pub struct Registry(Vec<Registered>);

impl Registry {
    /// Puts the providers in order.
    pub fn new(mut providers: Vec<Registered>) -> Self {
        providers.sort_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
        Self(providers)
    }

    /// The providers in order.
    pub fn providers(&self) -> &[Registered] {
        &self.0
    }

    /// The position of the provider with this id, else of the first one with this alias.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|entry| entry.id.as_str() == name)
            .or_else(|| self.0.iter().position(|entry| entry.aliases.iter().any(|alias| alias == name)))
    }

    /// The model written `provider/key` with the provider's id and the model's key, if there is one.
    pub(super) fn find_id(&self, name: &str) -> Option<ModelId> {
        let (provider, key) = name.split_once('/')?;
        let entry = self.0.iter().find(|entry| entry.id.as_str() == provider)?;
        let models = entry.provider.capabilities();
        let model = models.models.iter().find(|model| model.key.as_str() == key)?;
        Some(ModelId { provider: entry.id.clone(), key: ModelKey::new(model.key.as_str()) })
    }
}
