//! What lies at a path: a whole pipeline in a folder, one component in a folder, or a file.

use std::path::Path;

use easel_catalog::{Component, DiffusersFolder};
use easel_engine_protocol::PipelineKind;
use serde_json::Value;

use super::single::SingleFile;
use super::{Part, folder};
use crate::{Error, Result};

/// What lies at a path.
#[derive(Debug)]
pub(super) enum Place {
    /// A folder with `model_index.json`.
    Pipeline(DiffusersFolder),
    /// A folder with the `config.json` of one network.
    Component(Component),
    /// A file.
    File(SingleFile),
}

impl Place {
    /// Looks. A folder that says of itself neither what pipeline nor what network it is, is refused.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            return SingleFile::open(path).map(Self::File);
        }
        match DiffusersFolder::open(path) {
            Ok(folder) => Ok(Self::Pipeline(folder)),
            Err(error) => match component(path) {
                Some(component) => Ok(Self::Component(component)),
                None => Err(error.into()),
            },
        }
    }

    /// The network called `name` in `pipeline`, if it is here; see [`SingleFile::part`].
    pub fn part(&self, name: &str, pipeline: PipelineKind, alone: bool, models: &[Part]) -> Result<Option<Part>> {
        match self {
            Self::Pipeline(folder) => folder.component(name).map(folder::part).transpose(),
            Self::Component(component) => {
                let fits = classes(name, pipeline).contains(&component.class.as_str());
                let named = Component { name: name.to_owned(), ..component.clone() };
                fits.then(|| folder::part(&named)).transpose()
            }
            Self::File(file) => file.part(name, pipeline, alone, models),
        }
    }

    /// What is here, for errors.
    pub fn contents(&self) -> String {
        match self {
            Self::Pipeline(folder) => {
                let names: Vec<&str> = folder.components().iter().map(|component| component.name.as_str()).collect();
                format!("{} holds {}", folder.path().display(), names.join(", "))
            }
            Self::Component(component) => format!("{} holds a {}", component.dir.display(), component.class),
            Self::File(file) => file.contents(),
        }
    }

    /// Which pipeline it is made for, where it says.
    pub fn pipeline(&self) -> Option<PipelineKind> {
        match self {
            Self::Pipeline(folder) => match folder.class_name() {
                class if class.starts_with("StableDiffusionXL") => Some(PipelineKind::Sdxl),
                class if class.starts_with("StableDiffusion") => Some(PipelineKind::Sd),
                class if class.starts_with("Flux") => Some(PipelineKind::Flux),
                _ => None,
            },
            Self::Component(component) => match component.class.as_str() {
                "FluxTransformer2DModel" => Some(PipelineKind::Flux),
                "UNet2DConditionModel" => {
                    let config = component.config().ok()?;
                    let pooled = config.get("addition_embed_type").and_then(Value::as_str) == Some("text_time");
                    Some(if pooled { PipelineKind::Sdxl } else { PipelineKind::Sd })
                }
                _ => None,
            },
            Self::File(file) => file.pipeline(),
        }
    }
}

/// What a network may be called in a pipeline.
fn classes(name: &str, pipeline: PipelineKind) -> &'static [&'static str] {
    match (name, pipeline) {
        ("unet", _) => &["UNet2DConditionModel"],
        ("transformer", _) => &["FluxTransformer2DModel"],
        ("vae", _) => &["AutoencoderKL"],
        ("text_encoder_2", PipelineKind::Flux) => &["T5EncoderModel"],
        _ => &["CLIPTextModel", "CLIPTextModelWithProjection"],
    }
}

/// The network of a folder, by what its `config.json` calls itself: diffusers notes a class, transformers a list of them.
fn component(path: &Path) -> Option<Component> {
    let mut component = Component {
        name: "model".to_owned(),
        library: "diffusers".to_owned(),
        class: "model".to_owned(),
        dir: path.to_owned(),
    };
    let config = component.config().ok()?;
    let listed = || config.get("architectures")?.as_array()?.first();
    if let Some(class) = config.get("_class_name").and_then(Value::as_str) {
        class.clone_into(&mut component.class);
    } else {
        listed().and_then(Value::as_str)?.clone_into(&mut component.class);
        "transformers".clone_into(&mut component.library);
    }
    Some(component)
}

/// Refuses a name that no pipeline of the kind has a place for.
pub(super) fn known(name: &str, pipeline: PipelineKind) -> Result<()> {
    let (networks, tokenizers) = folder::used(pipeline);
    if networks.contains(&name) || tokenizers.contains(&name) {
        return Ok(());
    }
    let names = [networks, tokenizers].concat().join(", ");
    Err(Error::invalid(format!("parts: there is no part `{name}` in such a model, only {names}")))
}
