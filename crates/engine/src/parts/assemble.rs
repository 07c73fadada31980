//! Parts from several places put together: single parts before the model's path, the path before the base.

use std::collections::BTreeMap;
use std::path::Path;

use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::{Map, Value};

use super::place::{self, Place};
use super::single::{pipeline_class, settings};
use super::{ModelParts, Part, folder, tokenizers};
use crate::config::shapes::scheduler::{self, Marks};
use crate::{Error, Result};

/// The places of a model, opened.
struct Places<'a> {
    source: &'a ModelSource,
    path: Place,
    base: Option<Place>,
    parts: BTreeMap<&'a str, Place>,
}

pub(super) fn open(source: &ModelSource) -> Result<ModelParts> {
    let places = Places::open(source)?;
    let mut warnings = Vec::new();
    let parts = places.networks(&mut warnings)?;
    let scheduler = places.scheduler()?;
    let denoiser = parts.iter().find(|part| part.name == "unet" || part.name == "transformer");
    let (class, settings) = places.about(denoiser);
    let mut model =
        ModelParts { pipeline: source.pipeline, class, settings, scheduler, parts, tokenizers: Vec::new(), warnings };
    if !matches!(places.path, Place::Pipeline(_)) {
        whole(&model)?;
    }
    model.tokenizers = tokenizers::find(source, &places.path, places.base.as_ref(), &model)?;
    Ok(model)
}

/// Whether all networks are there that the pipeline needs. A folder's own index says what it has.
fn whole(model: &ModelParts) -> Result<()> {
    let (networks, _) = folder::used(model.pipeline);
    let is_there = |name: &str| model.part(name).is_some();
    // A refiner looks at the larger text encoder alone.
    let looks_at = |part: &Part| part.config.get("cross_attention_dim").and_then(Value::as_u64);
    let width = model.part("text_encoder_2").and_then(|part| part.config.get("hidden_size")).and_then(Value::as_u64);
    let alone =
        model.pipeline == PipelineKind::Sdxl && width.is_some() && model.part("unet").and_then(looks_at) == width;
    for name in networks {
        if !(is_there(name) || alone && *name == "text_encoder") {
            return Err(model.missing(name));
        }
    }
    Ok(())
}

impl<'a> Places<'a> {
    fn open(source: &'a ModelSource) -> Result<Self> {
        let mut parts = BTreeMap::new();
        for (name, path) in &source.parts {
            place::known(name, source.pipeline)?;
            if name.starts_with("tokenizer") {
                continue;
            }
            let place = Place::open(path).map_err(|error| error.within(format!("parts: {name}")))?;
            parts.insert(name.as_str(), place);
        }
        let path = Place::open(&source.path)?;
        let base =
            source.base.as_deref().map(|path: &Path| Place::open(path).map_err(|e| e.within("base"))).transpose()?;
        let places = Self { source, path, base, parts };
        places.check_kind()?;
        Ok(places)
    }

    /// A file of another kind of model than the job says is told so, instead of what is missing in it.
    fn check_kind(&self) -> Result<()> {
        let asked = self.source.pipeline;
        for place in [Some(&self.path), self.base.as_ref()].into_iter().flatten() {
            // A folder's class is the pipeline's to accept or refuse.
            if let (Place::File(_) | Place::Component(_), Some(found)) = (place, place.pipeline())
                && found != asked
            {
                let message = format!("{}, of a model for the pipeline {}", place.contents(), word(found));
                return Err(Error::broken(format!("{message}, not {}", word(asked)))
                    .with_hint(format!("name {} as its pipeline", word(found))));
            }
        }
        Ok(())
    }

    fn networks(&self, warnings: &mut Vec<String>) -> Result<Vec<Part>> {
        let pipeline = self.source.pipeline;
        let (names, _) = folder::used(pipeline);
        let mut parts = Vec::new();
        for &name in names {
            let model: Vec<Part> = match &self.base {
                Some(base) => base.part(name, pipeline, false, &[])?.into_iter().collect(),
                None => Vec::new(),
            };
            let found = if let Some(place) = self.parts.get(name) {
                // What stands in the same place of the model may be broken, or not be there; then it tells nothing.
                let own = self.path.part(name, pipeline, false, &model).ok().flatten();
                let known: Vec<Part> = own.into_iter().chain(model).collect();
                let part = place.part(name, pipeline, true, &known)?;
                Some(part.ok_or_else(|| {
                    Error::broken(format!("parts: {name}: {}, nothing that can be one", place.contents()))
                })?)
            } else {
                self.path.part(name, pipeline, false, &model)?.or(model.into_iter().next())
            };
            parts.extend(found);
        }
        let places = [Some(&self.path), self.base.as_ref()].into_iter().flatten().chain(self.parts.values());
        for place in places {
            if let Place::File(file) = place {
                warnings.extend(file.left_over());
            }
        }
        Ok(parts)
    }

    /// The model's own schedule, or the base's; for files the family's. What the file says about itself goes before.
    fn scheduler(&self) -> Result<Map<String, Value>> {
        let (marks, second) = match &self.path {
            Place::File(file) => (file.marks()?, file.second()?),
            Place::Pipeline(_) | Place::Component(_) => (Marks::default(), None),
        };
        for place in [Some(&self.path), self.base.as_ref()].into_iter().flatten() {
            if let Place::Pipeline(folder) = place {
                let Some(component) = folder.component("scheduler") else {
                    return Err(Error::broken("model_index.json names no scheduler"));
                };
                let mut config = component.config()?;
                scheduler::apply(&mut config, marks);
                return Ok(config);
            }
        }
        let marks = Marks { velocity: marks.velocity || second == Some(true), ..marks };
        Ok(match self.source.pipeline {
            PipelineKind::Sdxl => scheduler::sdxl(marks),
            PipelineKind::Sd => scheduler::sd(second.is_some(), marks),
            PipelineKind::Flux => scheduler::flux(self.is_guided()?),
        })
    }

    /// Whether FLUX is told of the guidance, as dev and its kin are.
    fn is_guided(&self) -> Result<bool> {
        let pipeline = self.source.pipeline;
        let part = self.path.part("transformer", pipeline, false, &[])?;
        let config = part.map(|part| part.config).unwrap_or_default();
        Ok(config.get("guidance_embeds").and_then(Value::as_bool).unwrap_or(false))
    }

    /// Class and settings of the pipeline.
    fn about(&self, denoiser: Option<&Part>) -> (String, Map<String, Value>) {
        if let Place::Pipeline(folder) = &self.path {
            return (folder.class_name().to_owned(), folder.model_index().clone());
        }
        let settings = match &self.base {
            Some(Place::Pipeline(folder)) => folder.model_index().clone(),
            _ => settings(self.source.pipeline, denoiser),
        };
        (pipeline_class(self.source.pipeline, denoiser).to_owned(), settings)
    }
}

fn word(pipeline: PipelineKind) -> &'static str {
    match pipeline {
        PipelineKind::Sdxl => "sdxl",
        PipelineKind::Sd => "sd",
        PipelineKind::Flux => "flux",
    }
}
