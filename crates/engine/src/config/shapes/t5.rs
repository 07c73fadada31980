//! `T5Config` from the shapes of an encoder.

use serde_json::{Map, Value, json};

use super::Facts;
use crate::Result;

/// The config of a T5 encoder.
pub fn t5(facts: &Facts<'_>) -> Result<Map<String, Value>> {
    let layer = "encoder.block.0.layer.";
    let bias = format!("{layer}0.SelfAttention.relative_attention_bias.weight");
    let heads = facts.axis(&bias, 1)?;
    let projected = facts.axis(&format!("{layer}0.SelfAttention.q.weight"), 0)?;
    let table = if facts.has("shared.") { "shared.weight" } else { "encoder.embed_tokens.weight" };
    let gated = facts.has(&format!("{layer}1.DenseReluDense.wi_0."));
    let inner = format!("{layer}1.DenseReluDense.{}.weight", if gated { "wi_0" } else { "wi" });
    if !projected.is_multiple_of(heads) {
        return Err(facts.error(format!("{heads} heads do not share {projected} numbers evenly")));
    }
    Ok(Map::from_iter([
        ("model_type".to_owned(), json!("t5")),
        ("vocab_size".to_owned(), json!(facts.axis(table, 0)?)),
        ("d_model".to_owned(), json!(facts.axis(table, 1)?)),
        ("d_kv".to_owned(), json!(projected / heads)),
        ("d_ff".to_owned(), json!(facts.axis(&inner, 0)?)),
        ("num_layers".to_owned(), json!(facts.count("encoder.block."))),
        ("num_heads".to_owned(), json!(heads)),
        ("relative_attention_num_buckets".to_owned(), json!(facts.axis(&bias, 0)?)),
        ("relative_attention_max_distance".to_owned(), json!(128)),
        ("layer_norm_epsilon".to_owned(), json!(1e-6)),
        ("feed_forward_proj".to_owned(), json!(if gated { "gated-gelu" } else { "relu" })),
    ]))
}
