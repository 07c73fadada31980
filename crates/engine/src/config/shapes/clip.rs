//! `CLIPTextConfig` from the shapes of an encoder.

use serde_json::{Map, Value, json};

use super::{Facts, heads_of};
use crate::Result;

/// Widths of the encoders that OpenCLIP trained, with the exact GELU: ViT-H and ViT-bigG. `OpenAI`'s has its quick one.
const OPENCLIP: [u64; 2] = [1024, 1280];

/// The config of a CLIP text encoder; `is_openclip` says that its names are OpenCLIP's.
pub fn clip(facts: &Facts<'_>, is_openclip: bool) -> Result<Map<String, Value>> {
    let vocabulary = facts.axis("text_model.embeddings.token_embedding.weight", 0)?;
    let width = facts.axis("text_model.embeddings.token_embedding.weight", 1)?;
    let inner = facts.axis("text_model.encoder.layers.0.mlp.fc1.weight", 0)?;
    let exact = is_openclip || OPENCLIP.contains(&width);
    let mut config = Map::from_iter([
        ("model_type".to_owned(), json!("clip_text_model")),
        ("vocab_size".to_owned(), json!(vocabulary)),
        ("hidden_size".to_owned(), json!(width)),
        ("intermediate_size".to_owned(), json!(inner)),
        ("num_hidden_layers".to_owned(), json!(facts.count("text_model.encoder.layers."))),
        ("num_attention_heads".to_owned(), json!(heads_of(width))),
        (
            "max_position_embeddings".to_owned(),
            json!(facts.axis("text_model.embeddings.position_embedding.weight", 0)?),
        ),
        ("hidden_act".to_owned(), json!(if exact { "gelu" } else { "quick_gelu" })),
        ("layer_norm_eps".to_owned(), json!(1e-5)),
        // The vocabularies of CLIP end with the mark that ends a text.
        ("bos_token_id".to_owned(), json!(vocabulary.saturating_sub(2))),
        ("eos_token_id".to_owned(), json!(vocabulary.saturating_sub(1))),
    ]);
    if let Some(projection) = facts.find("text_projection.weight", 0) {
        config.insert("projection_dim".to_owned(), json!(projection));
    }
    Ok(config)
}
