//! `FluxTransformer2DModel` from its shapes.

use serde_json::{Map, Value, json};

use super::Facts;
use crate::Result;

/// The config of FLUX's transformer.
pub fn flux(facts: &Facts<'_>) -> Result<Map<String, Value>> {
    let (double, single) = (facts.count("transformer_blocks."), facts.count("single_transformer_blocks."));
    let norm = ["transformer_blocks.0.attn.norm_q.weight", "single_transformer_blocks.0.attn.norm_q.weight"];
    let head = norm.iter().find_map(|norm| facts.find(norm, 0));
    let head = head.filter(|head| *head > 0).ok_or_else(|| facts.error("no block is in the weights"))?;
    let width = facts.axis("x_embedder.weight", 0)?;
    if !width.is_multiple_of(head) {
        return Err(facts.error(format!("heads of {head} do not make the width of {width}")));
    }
    let (inputs, outputs) = (facts.axis("x_embedder.weight", 1)?, facts.axis("proj_out.weight", 0)?);
    let text = facts.axis("context_embedder.weight", 1)?;
    let pooled = facts.axis("time_text_embed.text_embedder.linear_1.weight", 1)?;
    Ok(Map::from_iter([
        ("_class_name".to_owned(), json!("FluxTransformer2DModel")),
        ("in_channels".to_owned(), json!(inputs)),
        ("out_channels".to_owned(), if inputs == outputs { Value::Null } else { json!(outputs) }),
        ("patch_size".to_owned(), json!(1)),
        ("num_layers".to_owned(), json!(double)),
        ("num_single_layers".to_owned(), json!(single)),
        ("num_attention_heads".to_owned(), json!(width / head)),
        ("attention_head_dim".to_owned(), json!(head)),
        ("joint_attention_dim".to_owned(), json!(text)),
        ("pooled_projection_dim".to_owned(), json!(pooled)),
        ("guidance_embeds".to_owned(), json!(facts.has("time_text_embed.guidance_embedder."))),
        ("axes_dims_rope".to_owned(), json!(axes(head))),
    ]))
}

/// How a head is shared out to the three axes: an eighth for the first and the rest in halves, 16, 56 and 56 of 128; all
/// of them even.
fn axes(head: u64) -> [u64; 3] {
    let mut first = (head / 8).next_multiple_of(2).max(2);
    while first < head && !(head - first).is_multiple_of(4) {
        first += 2;
    }
    let half = head.saturating_sub(first) / 2;
    [first, half, half]
}
