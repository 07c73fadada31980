//! Which providers may make a picture, in which order: pure, and the same for the same configuration and state.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, Registered, Registry, Routing};
use crate::generation::{
    Availability, Capabilities, FallbackPolicy, GenerationRequest, Installed, Lora, Model, ModelId, OnDisconnect,
    Target,
};
use crate::providers::Provider;
use crate::providers::layers::Gauges;

/// How many names an error about an unknown name offers.
const OFFERED: usize = 10;

/// One provider with one of its models, in its turn.
#[derive(Clone)]
pub(super) struct Candidate {
    /// The provider's position in the registry.
    pub position: usize,
    /// Which model.
    pub model: ModelId,
    /// What it can do.
    pub details: Model,
    /// What becomes of its work when nobody waits for it any more, unless the request says.
    pub on_disconnect: OnDisconnect,
    /// What its turn may take, where that is not what is left of the request's time.
    pub deadline: Option<Duration>,
    /// The provider in its layers.
    pub provider: Arc<dyn Provider>,
    /// What its layers know beside its answers.
    pub gauges: Arc<Gauges>,
}

/// Why a candidate cannot be asked now.
pub(super) struct Obstacle {
    /// The category.
    pub reason: &'static str,
    /// What is the matter.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it is the model's files that are not here.
    pub not_installed: bool,
    /// When it will be over, where that is known.
    pub retry_after: Option<Duration>,
}

/// The rule, applied to one state of the process.
pub(super) struct Router<'a> {
    pub registry: &'a Registry,
    pub routing: &'a Routing,
    /// The process-wide current model, when one was chosen.
    pub chosen: Option<ModelId>,
}

impl Candidate {
    /// The first thing that keeps it from being asked.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        // The model's files come first: whoever names a model that is not here needs its pull command, whatever else
        // its provider lacks.
        if let Installed::No { detail, remedy } = &self.details.installed {
            let (detail, remedy) = (detail.clone(), remedy.clone());
            return Some(Obstacle { reason: "not_installed", detail, remedy, not_installed: true, retry_after: None });
        }
        match self.provider.is_available() {
            Availability::Available => None,
            Availability::Unavailable { reason, detail, remedy } => {
                let retry_after = self.gauges.held_back();
                Some(Obstacle { reason, detail, remedy, not_installed: false, retry_after })
            }
        }
    }

    /// The digest of what would make the pictures: the model's files, and those of the adapters, which may be replaced under
    /// the same name. `None` where only the provider knows.
    pub(super) fn content(&self, loras: &[Lora]) -> Option<String> {
        let files = self.provider.capabilities().lora_files.clone().filter(|_| !loras.is_empty());
        let Some(files) = files else { return self.details.digest.clone() };
        let model = self.details.digest.clone().unwrap_or_default();
        let all = loras.iter().map(|lora| files.digest(&lora.name).unwrap_or_default());
        Some(std::iter::once(model).chain(all).collect::<Vec<_>>().join("\n"))
    }

    /// Whether it can be asked now.
    pub(super) fn is_usable(&self) -> bool {
        self.obstacle().is_none()
    }
}

impl Router<'_> {
    /// Whether the request may fall back: what the caller says, else the configuration, else only when nothing is named.
    pub(super) fn policy(&self, request: &GenerationRequest) -> FallbackPolicy {
        let named = request.target.provider.is_some() || request.target.model.is_some();
        let usual = if named { FallbackPolicy::Never } else { FallbackPolicy::Auto };
        request.fallback.or(self.routing.fallback).unwrap_or(usual)
    }

    /// The candidates in the order of their turns; each model at most once.
    pub(super) fn candidates(&self, target: &Target, policy: FallbackPolicy) -> Result<Vec<Candidate>, Error> {
        let mut candidates = match (target.provider.as_deref(), target.model.as_deref()) {
            (None, None) => match policy {
                FallbackPolicy::Auto => return Ok(self.default_order()),
                FallbackPolicy::Never => return Ok(self.default_order().into_iter().take(1).collect()),
            },
            (None, Some(model)) => self.serving(model)?,
            (Some(provider), None) => self.provider(provider)?.1.with_default_model().into_iter().collect(),
            (Some(provider), Some(model)) => vec![self.provider_with_model(provider, model)?],
        };
        match policy {
            FallbackPolicy::Never => {}
            FallbackPolicy::Auto => {
                for candidate in self.default_order() {
                    if candidates.iter().all(|earlier| earlier.model != candidate.model) {
                        candidates.push(candidate);
                    }
                }
            }
        }
        Ok(candidates)
    }

    /// The model of this name if its files are here.
    pub(super) fn existing(&self, name: &str) -> Result<ModelId, Error> {
        let candidate = self.serving(name)?.into_iter().next().ok_or_else(|| self.unknown_model(name, None))?;
        match candidate.details.installed {
            Installed::Yes => Ok(candidate.model),
            Installed::No { detail, remedy } => Err(Error::NotInstalled { model: candidate.model, detail, remedy }),
        }
    }

    /// A sentence for each name in `[routing]` that nothing answers to.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(name) = &self.routing.default_provider
            && self.registry.position(name).is_none()
        {
            problems.push(format!("routing.default_provider: there is no enabled provider called `{name}`"));
        }
        if let Some(name) = &self.routing.default_model
            && self.configured_lead().is_none_or(|lead| !lead.answers_to(name))
        {
            problems.push(format!("routing.default_model: there is no model called `{name}` where it would be used"));
        }
        problems
    }

    /// The current model while it can be used, then what `[routing]` says, then every other provider; each provider
    /// once, by default with its own default model.
    fn default_order(&self) -> Vec<Candidate> {
        let leads = [self.current_lead(), self.configured_lead()];
        let rest =
            (0..self.registry.providers().len()).filter_map(|position| self.entry(position)?.with_default_model());
        let mut order: Vec<Candidate> = Vec::new();
        for candidate in leads.into_iter().flatten().chain(rest) {
            if order.iter().all(|earlier| earlier.position != candidate.position) {
                order.push(candidate);
            }
        }
        order
    }

    fn current_lead(&self) -> Option<Candidate> {
        let chosen = self.chosen.as_ref()?;
        let entry = self.entry(self.registry.position(chosen.provider.as_str())?)?;
        entry.with_model(chosen.key.as_str()).filter(Candidate::is_usable)
    }

    fn configured_lead(&self) -> Option<Candidate> {
        let model = self.routing.default_model.as_deref();
        match (&self.routing.default_provider, model) {
            (None, None) => None,
            (None, Some(model)) => {
                self.qualified(model).or_else(|| self.entries().find_map(|entry| entry.with_model(model)))
            }
            (Some(provider), model) => {
                let entry = self.entry(self.registry.position(provider)?)?;
                model.and_then(|model| self.of_provider(&entry, model)).or_else(|| entry.with_default_model())
            }
        }
    }

    /// The providers that serve `name`, in the default order. `provider/key` is one model of one provider, even where
    /// another provider has a model whose whole key reads the same.
    fn serving(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        if let Some(candidate) = self.qualified(name) {
            return Ok(vec![candidate]);
        }
        let serving: Vec<_> = self
            .default_order()
            .iter()
            .filter_map(|candidate| self.entry(candidate.position)?.with_model(name))
            .collect();
        if serving.is_empty() { Err(self.unknown_model(name, None)) } else { Ok(serving) }
    }

    fn provider_with_model(&self, provider: &str, model: &str) -> Result<Candidate, Error> {
        let (position, entry) = self.provider(provider)?;
        self.of_provider(&entry, model).ok_or_else(|| self.unknown_model(model, Some(position)))
    }

    /// The model `name` of this provider, where `name` may repeat the provider.
    fn of_provider(&self, entry: &Entry<'_>, name: &str) -> Option<Candidate> {
        self.qualified(name).filter(|found| found.position == entry.position).or_else(|| entry.with_model(name))
    }

    /// The model written `provider/key`, where either may be an alias and the key may contain slashes.
    fn qualified(&self, name: &str) -> Option<Candidate> {
        let (provider, key) = name.split_once('/')?;
        self.entry(self.registry.position(provider)?)?.with_model(key)
    }

    fn provider(&self, name: &str) -> Result<(usize, Entry<'_>), Error> {
        let found = self.registry.position(name).and_then(|position| Some((position, self.entry(position)?)));
        found.ok_or_else(|| {
            let names = self.registry.providers().iter();
            let names = names.flat_map(|entry| entry.aliases.iter().cloned().chain([entry.id.to_string()]));
            Error::UnknownProvider { name: name.to_owned(), candidates: closest(name, names) }
        })
    }

    /// An error that offers the models there are, of all providers or of the one at `position`.
    fn unknown_model(&self, name: &str, position: Option<usize>) -> Error {
        let entries = self.entries().filter(|entry| position.is_none_or(|position| entry.position == position));
        let mut names: Vec<(usize, String)> = entries
            .flat_map(|entry| {
                let ids = entry.capabilities.models.iter().map(|model| {
                    let id = entry.id_of(model);
                    let spellings = [id.to_string(), model.key.to_string()].into_iter().chain(model.aliases.clone());
                    let distance = spellings.map(|known| strsim::damerau_levenshtein(name, &known)).min();
                    (distance.unwrap_or(usize::MAX), id.to_string())
                });
                ids.collect::<Vec<_>>()
            })
            .collect();
        names.sort();
        names.truncate(OFFERED);
        Error::UnknownModel { name: name.to_owned(), candidates: names.into_iter().map(|(_, id)| id).collect() }
    }

    fn entry(&self, position: usize) -> Option<Entry<'_>> {
        let registered = self.registry.providers().get(position)?;
        Some(Entry { position, registered, capabilities: registered.provider.capabilities() })
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.registry.providers().len()).filter_map(|position| self.entry(position))
    }
}

/// A provider with what it can do at this moment.
struct Entry<'a> {
    position: usize,
    registered: &'a Registered,
    capabilities: Arc<Capabilities>,
}

impl Entry<'_> {
    /// The provider with its default model; with its first one where none can be used, so that it can say why.
    fn with_default_model(&self) -> Option<Candidate> {
        let default = self.capabilities.default_model.as_ref();
        let named = default.and_then(|key| self.capabilities.find(key.as_str()));
        let model = named.or_else(|| self.capabilities.models.first().map(Cow::Borrowed));
        model.map(|model| self.candidate(&model))
    }

    fn with_model(&self, name: &str) -> Option<Candidate> {
        self.capabilities.find(name).map(|model| self.candidate(&model))
    }

    fn candidate(&self, model: &Model) -> Candidate {
        Candidate {
            position: self.position,
            model: self.id_of(model),
            details: model.clone(),
            on_disconnect: self.registered.on_disconnect,
            deadline: self.registered.deadline,
            provider: Arc::clone(&self.registered.provider),
            gauges: Arc::clone(&self.registered.gauges),
        }
    }

    fn id_of(&self, model: &Model) -> ModelId {
        ModelId { provider: self.registered.id.clone(), key: model.key.clone() }
    }
}

impl Candidate {
    /// Whether `name` is one of the spellings of this very model.
    fn answers_to(&self, name: &str) -> bool {
        let spelled =
            |text: &str| text == self.details.key.as_str() || self.details.aliases.iter().any(|alias| alias == text);
        spelled(name) || name.split_once('/').is_some_and(|(_, key)| spelled(key))
    }
}

/// The names closest to `name`, closest first, ties by name.
fn closest(name: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.map(|known| (strsim::damerau_levenshtein(name, &known), known)).collect();
    names.sort();
    names.dedup();
    names.truncate(OFFERED);
    names.into_iter().map(|(_, known)| known).collect()
}
