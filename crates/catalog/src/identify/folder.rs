//! What a folder is: a model folder, one component, an adapter's folder, or a repository in the Hugging Face cache.
//! Weights speak first, where they can be read; configs fill in what no tensor tells.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Component, DiffusersFolder, Error, Result, TensorFile, source};

use super::words::{Confidence, Family, Kind, Naming, Prediction};
use super::{Identity, Part, file};

/// Files that hold an adapter, by PEFT and by diffusers.
const ADAPTERS: [&str; 4] =
    ["pytorch_lora_weights.safetensors", "adapter_model.safetensors", "pytorch_lora_weights.bin", "adapter_model.bin"];
/// What weights end with.
const EXTENSIONS: [&str; 6] = ["safetensors", "ckpt", "pt", "pth", "bin", "sft"];
/// Classes of pipelines by the beginning of their names, longest first.
const PIPELINES: &[(&str, Family)] = &[
    ("StableDiffusionXL", Family::Sdxl),
    ("StableDiffusion3", Family::Sd3),
    ("Flux2", Family::Flux2),
    ("Flux", Family::Flux1),
    ("Chroma", Family::Chroma),
    ("Kolors", Family::Other("kolors")),
    ("PixArt", Family::Other("pixart")),
    ("AuraFlow", Family::Other("auraflow")),
    ("QwenImage", Family::Other("qwen_image")),
    ("ZImage", Family::Other("z_image")),
    ("Wan", Family::Other("wan")),
    ("StableCascade", Family::Other("stable_cascade")),
    ("HiDream", Family::Other("hidream")),
    ("LTX", Family::Other("ltx_video")),
    ("Lumina2", Family::Other("lumina2")),
];

/// Tells what the folder is.
pub(super) fn identify(path: &Path) -> Result<Identity> {
    if let Some(snapshot) = source::snapshot_of(path) {
        return identify(&snapshot);
    }
    if path.join("model_index.json").exists() {
        return Ok(pipeline(&DiffusersFolder::open(path)?));
    }
    if let Some(adapter) = ADAPTERS.iter().map(|name| path.join(name)).find(|file| file.exists()) {
        return Ok(file::identify(&[&TensorFile::open(&adapter)?]));
    }
    if path.join("config.json").exists() {
        return component(path);
    }
    let files = weights_files(path)?;
    match files.as_slice() {
        [only] => Ok(file::identify(&[&TensorFile::open(only)?])),
        [] => Err(Error::malformed(path, "no model: neither model_index.json nor config.json nor a file of weights")),
        several => {
            let names: Vec<_> = several.iter().filter_map(|file| file.file_name()?.to_str()).take(5).collect();
            let reason = format!("{} files of weights; name one of them: {}", several.len(), names.join(", "));
            Err(Error::malformed(path, reason))
        }
    }
}

fn weights_files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let file = entry.map_err(Error::io(path))?.path();
        let is_weights = file.extension().and_then(|end| end.to_str()).is_some_and(|end| EXTENSIONS.contains(&end));
        if is_weights && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// One component with its config.
fn component(path: &Path) -> Result<Identity> {
    let mut component = Component {
        name: path.file_name().and_then(|name| name.to_str()).unwrap_or("model").to_owned(),
        library: String::new(),
        class: String::new(),
        dir: path.to_owned(),
    };
    let config = component.config()?;
    component.class = class_of(&config).unwrap_or_default();
    let files = component.weights()?;
    let mut identity = file::identify(&files.iter().collect::<Vec<_>>());
    if !component.class.is_empty() {
        identity.why.push(format!("its config names {}", component.class));
    }
    if identity.kind == Kind::Vae
        && let Some(family) = family_of_vae(&config)
    {
        identity.why.push("its config scales latents as this family's does".to_owned());
        identity.candidates.clear();
        identity.family = Some(family);
        identity.confidence = Confidence::Certain;
    }
    Ok(identity)
}

fn class_of(config: &Map<String, Value>) -> Option<String> {
    let architectures = config.get("architectures").and_then(Value::as_array).and_then(|all| all.first());
    config.get("_class_name").or(architectures).and_then(Value::as_str).map(str::to_owned)
}

/// The scale of latents sets families apart whose autoencoders have one shape.
fn family_of_vae(config: &Map<String, Value>) -> Option<Family> {
    let scale = config.get("scaling_factor").and_then(Value::as_f64)?;
    let is = |known: f64| (scale - known).abs() < 1e-6;
    // 0.18215 is also the default of diffusers: it says nothing about SDXL's fine-tunes, whose configs say 0.13025.
    match config.get("latent_channels").and_then(Value::as_u64).unwrap_or(4) {
        4 if is(0.13025) => Some(Family::Sdxl),
        16 if is(0.3611) => Some(Family::Flux1),
        16 if is(1.5305) => Some(Family::Sd3),
        _ => None,
    }
}

fn pipeline(folder: &DiffusersFolder) -> Identity {
    let class = folder.class_name();
    let network = folder.component("transformer").or_else(|| folder.component("unet"));
    let seen = network.map(|component| (component.name.as_str(), component.weights()));
    let mut identity = match &seen {
        Some((_, Ok(files))) => file::identify(&files.iter().collect::<Vec<_>>()),
        _ => Identity::unknown(),
    };
    if let Some((name, Err(error))) = &seen {
        identity.why.push(format!("the weights of {name} cannot be read: {error}"));
    }
    identity.kind = Kind::Checkpoint;
    identity.naming = Some(Naming::Diffusers);
    identity.why.push(format!("model_index.json names {class}"));
    if identity.family.is_none() {
        by_class(folder, &mut identity);
    }
    scheduler(folder, &mut identity);
    identity.parts.clear();
    let mut broken = Vec::new();
    for component in folder.components() {
        if !component.has_weights() || component.name == "safety_checker" {
            continue;
        }
        let naming = if component.library == "transformers" { Naming::Transformers } else { Naming::Diffusers };
        match component.weights() {
            Ok(_) => identity.parts.push(Part {
                name: component.name.clone(),
                prefix: format!("{}/", component.name),
                naming,
            }),
            Err(error) => {
                identity.why.push(error.to_string());
                broken.push(component.name.clone());
            }
        }
    }
    let has =
        |name: &str| identity.parts.iter().any(|part| part.name == name) || broken.iter().any(|gone| gone == name);
    let needs = identity.family.map_or(&[][..], Family::needs);
    identity.missing =
        needs.iter().filter(|name| !has(name)).map(|name| (*name).to_owned()).chain(broken.clone()).collect();
    identity
}

/// The family by the pipeline's class, and of Stable Diffusion's by the width of the text.
fn by_class(folder: &DiffusersFolder, identity: &mut Identity) {
    let class = folder.class_name();
    let unet = folder.component("unet").map(Component::config).transpose().unwrap_or_default();
    let cross = unet.as_ref().and_then(|config| config.get("cross_attention_dim")).and_then(Value::as_u64);
    let named = PIPELINES.iter().find(|(start, _)| class.starts_with(start)).map(|(_, family)| *family);
    let family = named.or_else(|| match cross {
        Some(768) if class.starts_with("StableDiffusion") => Some(Family::Sd1),
        Some(1024) if class.starts_with("StableDiffusion") => Some(Family::Sd2),
        _ => None,
    });
    if let Some(family) = family {
        identity.family = Some(family);
        identity.candidates.clear();
        identity.confidence = Confidence::Likely;
    } else if class.starts_with("StableDiffusion") && identity.candidates.is_empty() {
        identity.candidates = vec![Family::Sd1, Family::Sd2];
    }
}

/// What the scheduler's config says that no tensor does.
fn scheduler(folder: &DiffusersFolder, identity: &mut Identity) {
    let Some(Ok(config)) = folder.component("scheduler").map(Component::config) else { return };
    match config.get("prediction_type").and_then(Value::as_str) {
        Some("epsilon") => identity.prediction = Some(Prediction::Epsilon),
        Some("v_prediction") => identity.prediction = Some(Prediction::V),
        _ => {}
    }
    let class = config.get("_class_name").and_then(Value::as_str).unwrap_or_default();
    if class.starts_with("EDM") {
        identity.prediction = Some(Prediction::Edm);
    } else if class.starts_with("FlowMatch") {
        identity.prediction = Some(Prediction::Flow);
    }
    if config.get("rescale_betas_zero_snr") == Some(&Value::Bool(true)) {
        identity.zero_terminal_snr = true;
    }
}
