//! Which family of models an adapter seems to be for. Only for the sentence of a refusal: what an adapter fits is decided
//! by names and shapes.

use std::collections::BTreeMap;

use super::file::Pieces;
use super::piece::Piece;

/// Widths of the text that a UNet's cross-attention reads, and whose they are.
const TEXT_WIDTHS: [(u64, &str); 4] = [
    (768, "Stable Diffusion 1"),
    (1024, "Stable Diffusion 2"),
    (2048, "Stable Diffusion XL"),
    (1280, "the Stable Diffusion XL refiner"),
];

/// Beginnings of what trainers write about the model, and which family is meant.
const WRITTEN: [(&str, &str); 10] = [
    ("flux-1", "FLUX.1"),
    ("flux1", "FLUX.1"),
    ("flux", "FLUX.1"),
    ("stable-diffusion-xl", "Stable Diffusion XL"),
    ("sdxl", "Stable Diffusion XL"),
    ("stable-diffusion-v1", "Stable Diffusion 1"),
    ("sd_v1", "Stable Diffusion 1"),
    ("stable-diffusion-v2", "Stable Diffusion 2"),
    ("sd_v2", "Stable Diffusion 2"),
    ("stable-diffusion-3", "Stable Diffusion 3"),
];

/// The family, if names, shapes or the header tell.
pub fn guess(layers: &BTreeMap<String, Pieces<'_>>, metadata: &BTreeMap<String, String>) -> Option<&'static str> {
    let any = |words: &[&str]| layers.keys().any(|layer| words.iter().any(|word| layer.contains(word)));
    if any(&["joint_blocks", "context_block"]) {
        return Some("Stable Diffusion 3");
    }
    // Not `transformer_blocks` alone, which UNets have too.
    if any(&["double_blocks", "single_blocks", "single_transformer_blocks"]) {
        return Some("FLUX.1");
    }
    for (layer, pieces) in layers {
        if !layer.contains("attn2") || !layer.replace('_', ".").ends_with("to.k") {
            continue;
        }
        let Some(width) = pieces.get(&Piece::Down).and_then(|down| down.shape.get(1)) else { continue };
        if let Some((_, family)) = TEXT_WIDTHS.iter().find(|(known, _)| known == width) {
            return Some(family);
        }
    }
    for key in ["modelspec.architecture", "ss_base_model_version"] {
        let Some(text) = metadata.get(key) else { continue };
        if let Some((_, family)) = WRITTEN.iter().find(|(written, _)| text.to_ascii_lowercase().starts_with(written)) {
            return Some(family);
        }
    }
    any(&["lora_te2_", "text_encoder_2."]).then_some("Stable Diffusion XL")
}
