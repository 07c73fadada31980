//! A model as its components: config and tensors under the names that diffusers gives them, wherever they were found.
//! It reads headers through the catalogue; what follows from here on knows no file layout.
//!
//! A model may be in several places: single parts go before the model's own path, and what neither has comes from the
//! base. `docs/MODELS.md` says what is derived where a file does not tell.

mod assemble;
mod folder;
mod part;
mod place;
mod single;
mod tokenizers;
mod velocity;

use std::path::Path;

use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::{Map, Value};

pub use part::{Part, PartKey, PartTensor};

pub use crate::keymap::Form;

use crate::tokenizer::TokenizerSource;
use crate::{Error, Result};
use place::Place;

/// Everything that a pipeline is built from.
#[derive(Debug, Clone)]
pub struct ModelParts {
    /// Which pipeline it is for.
    pub pipeline: PipelineKind,
    /// The pipeline's class in diffusers: `StableDiffusionXLPipeline`.
    pub class: String,
    /// The pipeline's own settings: what `model_index.json` says beside its components.
    pub settings: Map<String, Value>,
    /// `scheduler_config.json`.
    pub scheduler: Map<String, Value>,
    /// The networks.
    pub parts: Vec<Part>,
    /// Where the tokenizers are, by their names (`tokenizer`, `tokenizer_2`).
    pub tokenizers: Vec<(String, TokenizerSource)>,
    /// What is odd about the files, though they can be used.
    pub warnings: Vec<String>,
}

impl ModelParts {
    /// Finds the components of a model: headers and small files are read, and of weights at most one tensor.
    pub fn open(source: &ModelSource) -> Result<Self> {
        assemble::open(source)
    }

    /// Whether there is a model at all; whether it is whole shows when it is opened.
    pub fn find(source: &ModelSource) -> Result<()> {
        if let Some(path) = source.parts.values().find(|path| !path.exists()) {
            return Err(easel_catalog::Error::NotFound { path: path.clone(), missing: "the part".to_owned() }.into());
        }
        for path in [Some(&source.path), source.base.as_ref()].into_iter().flatten() {
            if !path.is_file() {
                Place::open(path)?;
            }
        }
        Ok(())
    }

    /// Which pipeline the model at `path` is made for, by what it says or by the shapes of its networks.
    pub fn pipeline_of(path: &Path) -> Result<PipelineKind> {
        let place = Place::open(path)?;
        place.pipeline().ok_or_else(|| {
            Error::broken(format!("{}: which pipeline it is for cannot be told", place.contents()))
                .with_hint("say it: sdxl, sd or flux")
        })
    }

    /// The network of this name, if the model has one.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The network of this name, which must be a `class`.
    pub fn needed(&self, name: &str, class: &str) -> Result<&Part> {
        let part = self.part(name).ok_or_else(|| self.missing(name))?;
        if part.class == class {
            return Ok(part);
        }
        Err(Error::broken(format!("{name} is a {}, only {class} is supported", part.class)))
    }

    /// The tokenizer of this name.
    pub fn tokenizer(&self, name: &str) -> Result<&TokenizerSource> {
        let found = self.tokenizers.iter().find(|(known, _)| known == name);
        found.map(|(_, source)| source).ok_or_else(|| self.missing(name))
    }

    /// A switch among the settings.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.settings.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(Error::broken(format!("model_index.json: {key} is {other}, true or false is needed"))),
        }
    }

    fn missing(&self, name: &str) -> Error {
        Error::broken(format!("the model has no {name}, which a {} needs", self.class))
            .with_hint(format!("give a base model that has one, or a file or folder of its own as the part `{name}`"))
    }
}
