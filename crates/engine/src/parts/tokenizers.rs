//! Which tokenizer each text encoder gets: its model's own, the base's, or one that ships with the engine.

use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::Value;

use super::place::Place;
use super::{ModelParts, Part, folder};
use crate::tokenizer::{Shipped, TokenizerSource};
use crate::{Error, Result};

/// The tokenizers of `model` by name; `path` and `base` are those of `source`, opened.
pub(super) fn find(
    source: &ModelSource,
    path: &Place,
    base: Option<&Place>,
    model: &ModelParts,
) -> Result<Vec<(String, TokenizerSource)>> {
    let (_, names) = folder::used(model.pipeline);
    let mut found = Vec::new();
    for &name in names {
        if let Some(folder) = source.parts.get(name) {
            found.push((name.to_owned(), TokenizerSource::Folder(folder.clone())));
            continue;
        }
        let written = [Some(path), base].into_iter().flatten().find_map(|place| match place {
            Place::Pipeline(folder) => folder.component(name).map(|component| component.dir.clone()),
            Place::Component(_) | Place::File(_) => None,
        });
        let tokenizer = match written {
            Some(dir) => Some(TokenizerSource::Folder(dir)),
            // A folder that leaves a tokenizer out is told so by the pipeline.
            None if matches!(path, Place::Pipeline(_)) => None,
            None => shipped(name, model)?.map(TokenizerSource::Shipped),
        };
        found.extend(tokenizer.map(|tokenizer| (name.to_owned(), tokenizer)));
    }
    Ok(found)
}

/// The tokenizer that ships for an encoder, if the encoder has the vocabulary that it was made for.
fn shipped(name: &str, model: &ModelParts) -> Result<Option<Shipped>> {
    let encoder = name.replace("tokenizer", "text_encoder");
    let Some(part) = model.part(&encoder) else {
        return Ok(None);
    };
    let kind = kind(name, model.pipeline, part);
    let vocabulary = part.config.get("vocab_size").and_then(Value::as_u64).unwrap_or_default();
    if kind.vocabularies().contains(&vocabulary) {
        return Ok(Some(kind));
    }
    let message = format!(
        "the model has no {name}, and {encoder} has a vocabulary of {vocabulary}, for which none ships with the engine"
    );
    let hint = format!("give a base model that has it, or its folder as the part `{name}`");
    Err(Error::broken(message).with_hint(hint))
}

/// OpenCLIP's encoders were trained with prompts filled up by `!`, the first of all ids.
fn kind(name: &str, pipeline: PipelineKind, encoder: &Part) -> Shipped {
    match (name, pipeline) {
        ("tokenizer_2", PipelineKind::Flux) => Shipped::T5,
        ("tokenizer_2", _) => Shipped::OpenClip,
        (_, PipelineKind::Sd) if encoder.config.get("hidden_size").and_then(Value::as_u64) == Some(1024) => {
            Shipped::OpenClip
        }
        _ => Shipped::Clip,
    }
}
