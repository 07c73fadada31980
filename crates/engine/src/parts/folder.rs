//! The parts of a folder in diffusers layout: its components as they are.

use easel_catalog::Component;
use easel_engine_protocol::PipelineKind;

use super::{Part, PartTensor};
use crate::Result;
use crate::keymap;

/// The networks and tokenizers that a pipeline uses, of those that an index may name.
pub(super) fn used(pipeline: PipelineKind) -> (&'static [&'static str], &'static [&'static str]) {
    match pipeline {
        PipelineKind::Sdxl => (&["unet", "vae", "text_encoder", "text_encoder_2"], &["tokenizer", "tokenizer_2"]),
        PipelineKind::Sd => (&["unet", "vae", "text_encoder"], &["tokenizer"]),
        PipelineKind::Flux => {
            (&["transformer", "vae", "text_encoder", "text_encoder_2"], &["tokenizer", "tokenizer_2"])
        }
    }
}

/// The part that a component is, with the names of today.
pub(super) fn part(component: &Component) -> Result<Part> {
    let part = Part::of(component)?;
    if part.class != "AutoencoderKL" {
        return Ok(part);
    }
    let renamed = |tensor: PartTensor| {
        let (name, form) = keymap::vae_of_today(&tensor.name, &tensor.info.shape);
        PartTensor { name, form, ..tensor }
    };
    Ok(Part { tensors: part.tensors.into_iter().map(renamed).collect(), ..part })
}
