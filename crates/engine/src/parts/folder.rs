//! The parts of a folder in diffusers layout: its components as they are.

use easel_catalog::{Component, DiffusersFolder};
use easel_engine_protocol::PipelineKind;

use super::{ModelParts, Part};
use crate::{Error, Result};

/// The networks and tokenizers that a pipeline uses, of those that an index may name.
fn used(pipeline: PipelineKind) -> (&'static [&'static str], &'static [&'static str]) {
    match pipeline {
        PipelineKind::Sdxl => (&["unet", "vae", "text_encoder", "text_encoder_2"], &["tokenizer", "tokenizer_2"]),
        PipelineKind::Sd => (&["unet", "vae", "text_encoder"], &["tokenizer"]),
        PipelineKind::Flux => {
            (&["transformer", "vae", "text_encoder", "text_encoder_2"], &["tokenizer", "tokenizer_2"])
        }
    }
}

pub(super) fn open(folder: &DiffusersFolder, pipeline: PipelineKind) -> Result<ModelParts> {
    let (networks, tokenizers) = used(pipeline);
    let scheduler = match folder.component("scheduler") {
        Some(scheduler) => scheduler.config()?,
        None => return Err(Error::broken("model_index.json names no scheduler")),
    };
    let found = |names: &[&str]| -> Vec<Component> {
        names.iter().filter_map(|name| folder.component(name)).cloned().collect()
    };
    Ok(ModelParts {
        pipeline,
        class: folder.class_name().to_owned(),
        settings: folder.model_index().clone(),
        scheduler,
        parts: found(networks).iter().map(Part::of).collect::<Result<_>>()?,
        tokenizers: found(tokenizers).into_iter().map(|component| (component.name, component.dir)).collect(),
        warnings: Vec::new(),
    })
}
