//! Whether a declared model is here and can be used. Headers and small files only; nothing is fetched.

use std::path::{Path, PathBuf};

use easel_catalog::{DiffusersFolder, Lookup, find_model, verify};
use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::Value;

use super::config::{ModelConfig, Pipeline};
use super::digest;
use crate::generation::ImageSize;

/// Where models are looked for.
pub(super) struct Library<'a> {
    /// Folders, in order.
    pub roots: &'a [PathBuf],
    /// The hub's cache, which other programs fill.
    pub hub_cache: Option<&'a Path>,
}

/// The answer.
pub(super) enum Found {
    /// It can be used.
    Here(Here),
    /// It cannot.
    Absent {
        /// What is missing or broken.
        detail: String,
        /// What brings it here.
        remedy: String,
    },
}

/// A model that can be used.
pub(super) struct Here {
    /// Where it lies and how it is driven.
    pub source: ModelSource,
    /// The size that it was made for.
    pub size: ImageSize,
    /// What its files are.
    pub digest: String,
}

/// Looks for the model. The error is the reason why its `source` cannot be read at all.
pub(super) fn look(config: &ModelConfig, library: &Library<'_>) -> Result<Found, String> {
    let source = &config.source;
    let lookup = find_model(source, library.roots, library.hub_cache).map_err(|error| error.to_string())?;
    let pipeline = match config.pipeline {
        Pipeline::Sdxl => PipelineKind::Sdxl,
        Pipeline::Sd | Pipeline::Flux => {
            return Ok(Found::Absent {
                detail: "its pipeline is not part of this build of Easel".to_owned(),
                remedy: "use a model with pipeline = \"sdxl\"".to_owned(),
            });
        }
    };
    let path = match lookup {
        Lookup::Found(path) => path,
        Lookup::NotFound { looked_in } => {
            return Ok(Found::Absent { detail: format!("{source} was not found"), remedy: fetch(source, &looked_in) });
        }
    };
    if path.is_file() {
        return Ok(Found::Absent {
            detail: format!("{source} is a single file, which this build of Easel cannot open"),
            remedy: "use the model in diffusers layout: a folder with model_index.json".to_owned(),
        });
    }
    let checked = DiffusersFolder::open(&path).and_then(|folder| verify(&folder).map(|()| folder));
    Ok(match checked {
        Ok(folder) => {
            let (size, digest) = (own_size(&folder), digest::of_folder(&path));
            Found::Here(Here { size, digest, source: ModelSource::whole(path, pipeline) })
        }
        Err(error) => Found::Absent {
            detail: without_path(&error.to_string(), &path, source),
            remedy: format!("put a whole model in diffusers layout at {}", path.display()),
        },
    })
}

/// `text` with the model's place on this machine replaced by how the configuration names it.
pub(super) fn without_path(text: &str, path: &Path, name: &str) -> String {
    path.to_str().map_or_else(|| text.to_owned(), |path| text.replace(path, name))
}

/// What brings the model here. Nothing is ever fetched unasked.
fn fetch(source: &str, looked_in: &[PathBuf]) -> String {
    if let Some(repository) = source.strip_prefix("hf:") {
        let mut parts = repository.splitn(3, '/');
        let (org, name, file) = (parts.next(), parts.next(), parts.next());
        let name = format!("{}/{}", org.unwrap_or_default(), name.unwrap_or_default());
        return match file {
            Some(file) => format!("run `hf download {name} {file}` and start Easel again"),
            None => format!("run `hf download {name}` and start Easel again"),
        };
    }
    match looked_in.first() {
        Some(place) => format!("put the model at {} and start Easel again", place.display()),
        None => "set [library] roots to the folder that holds the model and start Easel again".to_owned(),
    }
}

/// The size that the model was trained at: as many latents as its UNet says, times what its VAE makes of one.
fn own_size(folder: &DiffusersFolder) -> ImageSize {
    const USUAL: u32 = 1024;
    let config = |name: &str| folder.component(name).and_then(|component| component.config().ok());
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let latents = config("unet").and_then(|unet| number(unet.get("sample_size")?));
    let levels = config("vae").and_then(|vae| Some(vae.get("block_out_channels")?.as_array()?.len()));
    let scale = levels.and_then(|levels| 1_u32.checked_shl(u32::try_from(levels.saturating_sub(1)).ok()?));
    let side = latents.zip(scale).and_then(|(latents, scale)| latents.checked_mul(scale));
    let side = side.filter(|side| (8..=4096).contains(side)).unwrap_or(USUAL);
    ImageSize::new(side, side)
        .unwrap_or(ImageSize { width: std::num::NonZeroU32::MIN, height: std::num::NonZeroU32::MIN })
}
