//! The text half of CLIP as OpenCLIP names it: queries, keys and values in one matrix, the projection turned over.

use super::walk::{number, replaced};
use super::{Form, Mapped, Shapes};

/// Layers of the encoder of Stable Diffusion 2, which looks at the last but one and ships without the last.
const LAYERS_OF_SD2: usize = 24;

const OUTSIDE: [(&str, &str); 2] =
    [("token_embedding", "text_model.embeddings.token_embedding"), ("ln_final", "text_model.final_layer_norm")];

const LAYER: [(&str, &str); 5] = [
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
];

pub(super) fn map(names: &Shapes) -> Vec<Mapped> {
    let mut plan = Vec::new();
    for (name, shape) in names {
        if let Some((i, inner)) = name.strip_prefix("transformer.resblocks.").and_then(number) {
            let target = format!("text_model.encoder.layers.{i}");
            if let Some(part) = inner.strip_prefix("attn.in_proj_") {
                let rows = shape.first().copied().unwrap_or_default() / 3;
                for (j, projection) in (0..).zip(["q_proj", "k_proj", "v_proj"]) {
                    let form = Form::Rows(rows * j..rows * (j + 1));
                    plan.push(Mapped::new(format!("{target}.self_attn.{projection}.{part}"), name, form));
                }
            } else if let Some(inner) = replaced(inner, &LAYER) {
                plan.push(Mapped::whole(format!("{target}.{inner}"), name));
            }
        } else if name == "positional_embedding" {
            plan.push(Mapped::whole("text_model.embeddings.position_embedding.weight", name));
        } else if name == "text_projection" {
            plan.push(Mapped::new("text_projection.weight", name, Form::Transposed));
        } else if name == "text_projection.weight" {
            plan.push(Mapped::whole(name, name));
        } else if let Some(target) = replaced(name, &OUTSIDE) {
            plan.push(Mapped::whole(target, name));
        }
    }
    plan
}

/// The encoder as Stable Diffusion 2 uses it: without the last layer and the projection, where the file has them.
pub fn without_last_layer(plan: Vec<Mapped>) -> Vec<Mapped> {
    let layer = |name: &str| name.strip_prefix("text_model.encoder.layers.").and_then(number).map(|(i, _)| i);
    let last = plan.iter().filter_map(|mapped| layer(&mapped.name)).max();
    let spare = last.filter(|last| last + 1 == LAYERS_OF_SD2);
    let is_kept = |name: &str| name != "text_projection.weight" && (spare.is_none() || layer(name) != spare);
    plan.into_iter().filter(|mapped| is_kept(&mapped.name)).collect()
}
