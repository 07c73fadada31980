//! The text half of CLIP as transformers names it: with `text_model.` before its names, as files have it, or without.

use super::{Mapped, Shapes};

pub(super) fn map(names: &Shapes) -> Vec<Mapped> {
    let target = |name: &str| -> Option<String> {
        if name.ends_with("position_ids") {
            return None;
        }
        if name == "text_projection.weight" {
            return Some(name.to_owned());
        }
        let inner = name.strip_prefix("text_model.").unwrap_or(name);
        let is_ours =
            ["embeddings.", "encoder.layers.", "final_layer_norm."].iter().any(|place| inner.starts_with(place));
        is_ours.then(|| format!("text_model.{inner}"))
    };
    let mut plan: Vec<Mapped> = names.keys().filter_map(|name| Some(Mapped::whole(target(name)?, name))).collect();
    // SGM keeps the projection of an encoder in transformers' names as OpenCLIP does: turned over, and not a layer.
    if names.contains_key("text_projection") && !names.contains_key("text_projection.weight") {
        plan.push(Mapped::new("text_projection.weight", "text_projection", super::Form::Transposed));
    }
    plan
}
