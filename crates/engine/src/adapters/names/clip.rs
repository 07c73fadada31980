//! Names of the CLIP text encoders: with and without the `text_model.` that transformers wrote until 5.5, and the names of
//! attention that diffusers gave them before PEFT.

use super::{Alias, Place};

/// A projection of transformers and what diffusers called it.
const ATTENTION: [(&str, &str); 4] =
    [("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")];

/// The names of a CLIP text encoder's layers; none for what is none.
pub fn aliases(layers: &[&str]) -> Vec<Alias> {
    let mut aliases = Vec::new();
    for layer in layers {
        let plain = layer.strip_prefix("text_model.").unwrap_or(layer);
        if !plain.contains(".self_attn.")
            && !plain.contains(".mlp.")
            && !plain.contains(".layer_norm")
            && !OTHER.contains(&plain)
        {
            continue;
        }
        let mut add = |name: &str| {
            for name in [name.to_owned(), format!("text_model.{name}")] {
                if name != *layer {
                    aliases.push((name, Place::One((*layer).to_owned())));
                }
            }
        };
        add(plain);
        for (known, old) in ATTENTION {
            if let Some(before) = plain.strip_suffix(known).filter(|before| before.ends_with(".self_attn.")) {
                add(&format!("{before}{old}"));
            }
        }
    }
    aliases
}

/// Layers outside the blocks.
const OTHER: [&str; 4] =
    ["final_layer_norm", "text_projection", "embeddings.token_embedding", "embeddings.position_embedding"];
