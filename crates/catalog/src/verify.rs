//! Whether a model folder is whole, as far as headers and small files can tell. Cheap: no weights are read.

use std::path::Path;

use crate::{Component, DiffusersFolder, Error, Result};

/// What a pipeline has to have, and what it uses when its index names it.
struct Parts {
    classes: [&'static str; 3],
    needed: &'static [&'static str],
    used: &'static [&'static str],
}

/// The pipelines that are known; of another one, everything that its index names is checked.
const PIPELINES: [Parts; 3] = [
    Parts {
        classes: ["StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"],
        needed: &["text_encoder_2", "tokenizer_2", "unet", "vae", "scheduler"],
        used: &["text_encoder", "tokenizer"],
    },
    Parts {
        classes: ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"],
        needed: &["text_encoder", "tokenizer", "unet", "vae", "scheduler"],
        used: &[],
    },
    Parts {
        classes: ["FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"],
        needed: &["text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "transformer", "vae", "scheduler"],
        used: &[],
    },
];

/// Checks that everything the pipeline needs is there: configs can be read, tokenizer files exist, and every weights
/// file has a sound header and all its bytes.
pub fn verify(folder: &DiffusersFolder) -> Result<()> {
    let class = folder.class_name();
    let parts = PIPELINES.iter().find(|parts| parts.classes.contains(&class));
    for name in parts.map_or(&[][..], |parts| parts.needed) {
        if folder.component(name).is_none() {
            let reason = format!("model_index.json does not name `{name}`, which {class} needs");
            return Err(Error::malformed(folder.path(), reason));
        }
    }
    let is_used = |name: &str| parts.is_none_or(|parts| parts.needed.contains(&name) || parts.used.contains(&name));
    folder.components().iter().filter(|component| is_used(&component.name)).try_for_each(verify_component)
}

fn verify_component(component: &Component) -> Result<()> {
    if !component.dir.is_dir() {
        return Err(Error::missing(&component.dir, format!("the folder of {} ({})", component.name, component.class)));
    }
    if component.is_tokenizer() {
        return verify_tokenizer(component);
    }
    component.config()?;
    if component.has_weights() {
        component.weights()?;
    }
    Ok(())
}

/// A tokenizer is `tokenizer.json`, or `vocab.json` with `merges.txt`, or a sentence-piece model.
fn verify_tokenizer(component: &Component) -> Result<()> {
    let has = |name: &str| is_filled(&component.dir.join(name));
    if has("tokenizer.json") || (has("vocab.json") && has("merges.txt")) || has("spiece.model") {
        return Ok(());
    }
    let why = format!("{} needs it, or vocab.json with merges.txt", component.name);
    Err(Error::missing(&component.dir.join("tokenizer.json"), why))
}

fn is_filled(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
}
