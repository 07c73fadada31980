//! A model as its components: config and tensors under the names that diffusers gives them, wherever they were found.
//! It reads headers through the catalogue and computes nothing; what follows from here on knows no file layout.

mod folder;
mod part;

use std::path::PathBuf;

use easel_catalog::DiffusersFolder;
use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::{Map, Value};

pub use part::{Form, Part, PartKey, PartTensor};

use crate::{Error, Result};

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
    /// Folders of tokenizers by their names (`tokenizer`, `tokenizer_2`).
    pub tokenizers: Vec<(String, PathBuf)>,
    /// What is odd about the files, though they can be used.
    pub warnings: Vec<String>,
}

impl ModelParts {
    /// Finds the components of a model: headers and small files are read, no weights.
    pub fn open(source: &ModelSource) -> Result<Self> {
        if source.base.is_some() || !source.parts.is_empty() {
            return Err(Error::broken("a model of several places cannot be put together"));
        }
        folder::open(&DiffusersFolder::open(&source.path)?, source.pipeline)
    }

    /// Whether there is a model at all; whether it is whole shows when it is opened.
    pub fn find(source: &ModelSource) -> Result<()> {
        DiffusersFolder::open(&source.path)?;
        Ok(())
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

    /// The folder of the tokenizer of this name.
    pub fn tokenizer(&self, name: &str) -> Result<&PathBuf> {
        let found = self.tokenizers.iter().find(|(known, _)| known == name);
        found.map(|(_, folder)| folder).ok_or_else(|| self.missing(name))
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
    }
}
