//! Whether a declared model is here and can be used. Headers and small files only; nothing is fetched.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use easel_catalog::identify::{Confidence, Family};
use easel_catalog::{DiffusersFolder, Identity, Lookup, TensorFile, find_model, identify_file, verify};
use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::Value;

use super::config::model::ModelConfig;
use super::digest;
use super::library::{Found, Here, Library};
use super::places::without_path;
use crate::generation::ImageSize;

/// Looks for the model. The error is the key and the reason why a place cannot be read at all.
pub(super) fn look(config: &ModelConfig, library: &Library<'_>) -> Result<Found, (String, String)> {
    let mut places = BTreeMap::new();
    let named = [("source".to_owned(), &config.source)].into_iter();
    let base = config.base.iter().map(|source| ("base".to_owned(), source));
    let parts = config.parts.iter().map(|(name, source)| (format!("parts.{name}"), source));
    for (key, source) in named.chain(base).chain(parts) {
        match find_model(source, library.roots, library.hub_cache) {
            Ok(Lookup::Found(path)) => {
                if let Err(found) = check(&path, source) {
                    return Ok(found);
                }
                places.insert(key, path);
            }
            Ok(Lookup::NotFound { looked_in }) => {
                let detail = format!("{source} was not found");
                return Ok(Found::Absent { detail, remedy: fetch(source, &looked_in) });
            }
            Err(error) => return Err((key, error.to_string())),
        }
    }
    if let Some(found) = places.get("source").and_then(|path| unfit(path, config)) {
        return Ok(found);
    }
    let digest = digest::of(places.iter().map(|(key, path)| (key.as_str(), path.as_path())));
    let size = places.get("source").map_or(FALLBACK, |path| own_size(path, config.pipeline));
    let mut take = |key: &str| places.remove(key);
    let Some(path) = take("source") else { return Err(("source".to_owned(), "it is missing".to_owned())) };
    let source = ModelSource {
        path,
        pipeline: config.pipeline,
        base: take("base"),
        parts: config.parts.keys().filter_map(|name| Some((name.clone(), take(&format!("parts.{name}"))?))).collect(),
    };
    Ok(Found::Here(Here { source, size, digest }))
}

/// The answer where a single file is certainly something else than its pipeline drives, or lacks what nobody supplies.
/// What the catalogue is not certain of is the engine's to say.
fn unfit(path: &Path, config: &ModelConfig) -> Option<Found> {
    let file = path.is_file().then(|| TensorFile::open(path).ok()).flatten()?;
    let Identity { kind, family, missing, confidence, .. } = identify_file(&file);
    let (family, source) = (family.filter(|_| confidence == Confidence::Certain)?, &config.source);
    if !drives(config.pipeline, family) {
        return Some(Found::Absent {
            detail: format!("{source} is of the family {family} ({kind}), which its pipeline does not drive"),
            remedy: "name the pipeline of its family, or another file".to_owned(),
        });
    }
    let lacks: Vec<String> = missing.into_iter().filter(|name| !config.parts.contains_key(name)).collect();
    if lacks.is_empty() || config.base.is_some() {
        return None;
    }
    Some(Found::Absent {
        detail: format!("{source} has no {}", lacks.join(", no ")),
        remedy: "name a whole model of its family as `base`, or what it lacks in `parts`".to_owned(),
    })
}

fn drives(pipeline: PipelineKind, family: Family) -> bool {
    match pipeline {
        PipelineKind::Sdxl => matches!(family, Family::Sdxl | Family::SdxlRefiner),
        PipelineKind::Sd => matches!(family, Family::Sd1 | Family::Sd2),
        PipelineKind::Flux => family == Family::Flux1,
    }
}

/// Whether what lies there is whole as far as headers tell.
fn check(path: &Path, source: &str) -> Result<(), Found> {
    let checked = if path.is_file() {
        TensorFile::open(path).map(drop)
    } else if path.join("model_index.json").exists() || !path.join("config.json").exists() {
        DiffusersFolder::open(path).and_then(|folder| verify(&folder))
    } else {
        // A single component; whether it is the right one is the engine's to say.
        Ok(())
    };
    checked.map_err(|error| Found::Absent {
        detail: without_path(&error.to_string(), path, source),
        remedy: format!("put a whole model at {}: a folder in diffusers layout, or a single file", path.display()),
    })
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

/// The size that models of a pipeline are made for, where their files do not say.
fn usual(pipeline: PipelineKind) -> u32 {
    match pipeline {
        PipelineKind::Sdxl | PipelineKind::Flux => 1024,
        PipelineKind::Sd => 512,
    }
}

/// What stands for a size that cannot be.
const FALLBACK: ImageSize = ImageSize { width: NonZeroU32::MIN, height: NonZeroU32::MIN };

/// The size that the model was trained at: as many latents as its UNet says, times what its VAE makes of one.
fn own_size(path: &Path, pipeline: PipelineKind) -> ImageSize {
    let folder = DiffusersFolder::open(path).ok();
    let config = |name: &str| folder.as_ref().and_then(|folder| folder.component(name)?.config().ok());
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let latents = config("unet").and_then(|unet| number(unet.get("sample_size")?));
    let levels = config("vae").and_then(|vae| Some(vae.get("block_out_channels")?.as_array()?.len()));
    let scale = levels.and_then(|levels| 1_u32.checked_shl(u32::try_from(levels.saturating_sub(1)).ok()?));
    let side = latents.zip(scale).and_then(|(latents, scale)| latents.checked_mul(scale));
    let side = side.filter(|side| (8..=4096).contains(side)).unwrap_or_else(|| usual(pipeline));
    ImageSize::new(side, side).unwrap_or(FALLBACK)
}
