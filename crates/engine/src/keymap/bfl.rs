//! FLUX as Black Forest Labs name it: queries, keys and values in one matrix, in a single block with the inside of the
//! feed-forward; shift before scale at the end, where diffusers has scale before shift.

use super::walk::{number, replaced};
use super::{Form, Mapped, Shapes};

const OUTSIDE: [(&str, &str); 9] = [
    ("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1"),
    ("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2"),
    ("vector_in.in_layer", "time_text_embed.text_embedder.linear_1"),
    ("vector_in.out_layer", "time_text_embed.text_embedder.linear_2"),
    ("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1"),
    ("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2"),
    ("img_in", "x_embedder"),
    ("txt_in", "context_embedder"),
    ("final_layer.linear", "proj_out"),
];

/// Norms are called `scale` by Black Forest Labs and `weight` in files that have been through other hands.
const DOUBLE: [(&str, &str); 16] = [
    ("img_mod.lin", "norm1.linear"),
    ("txt_mod.lin", "norm1_context.linear"),
    ("img_attn.norm.query_norm.scale", "attn.norm_q.weight"),
    ("img_attn.norm.query_norm", "attn.norm_q"),
    ("img_attn.norm.key_norm.scale", "attn.norm_k.weight"),
    ("img_attn.norm.key_norm", "attn.norm_k"),
    ("txt_attn.norm.query_norm.scale", "attn.norm_added_q.weight"),
    ("txt_attn.norm.query_norm", "attn.norm_added_q"),
    ("txt_attn.norm.key_norm.scale", "attn.norm_added_k.weight"),
    ("txt_attn.norm.key_norm", "attn.norm_added_k"),
    ("img_attn.proj", "attn.to_out.0"),
    ("txt_attn.proj", "attn.to_add_out"),
    ("img_mlp.0", "ff.net.0.proj"),
    ("img_mlp.2", "ff.net.2"),
    ("txt_mlp.0", "ff_context.net.0.proj"),
    ("txt_mlp.2", "ff_context.net.2"),
];

const SINGLE: [(&str, &str); 6] = [
    ("modulation.lin", "norm.linear"),
    ("linear2", "proj_out"),
    ("norm.query_norm.scale", "attn.norm_q.weight"),
    ("norm.query_norm", "attn.norm_q"),
    ("norm.key_norm.scale", "attn.norm_k.weight"),
    ("norm.key_norm", "attn.norm_k"),
];

pub(super) fn map(names: &Shapes) -> Vec<Mapped> {
    let mut plan = Vec::new();
    for (name, shape) in names {
        let rows = shape.first().copied().unwrap_or_default();
        if let Some((i, inner)) = name.strip_prefix("double_blocks.").and_then(number) {
            double(name, &format!("transformer_blocks.{i}"), inner, rows, &mut plan);
        } else if let Some((i, inner)) = name.strip_prefix("single_blocks.").and_then(number) {
            let width = width_of_single(names, i);
            single(name, &format!("single_transformer_blocks.{i}"), inner, rows, width, &mut plan);
        } else if let Some(part) = name.strip_prefix("final_layer.adaLN_modulation.1.") {
            let half = rows / 2;
            plan.push(Mapped::new(format!("norm_out.linear.{part}"), name, Form::Joined(vec![half..rows, 0..half])));
        } else if let Some(target) = replaced(name, &OUTSIDE) {
            plan.push(Mapped::whole(target, name));
        }
    }
    plan
}

fn double(name: &str, target: &str, inner: &str, rows: u64, plan: &mut Vec<Mapped>) {
    let fused =
        [("img_attn.qkv.", ["to_q", "to_k", "to_v"]), ("txt_attn.qkv.", ["add_q_proj", "add_k_proj", "add_v_proj"])];
    for (from, projections) in fused {
        if let Some(part) = inner.strip_prefix(from) {
            let third = rows / 3;
            for (j, projection) in (0..).zip(projections) {
                let form = Form::Rows(third * j..third * (j + 1));
                plan.push(Mapped::new(format!("{target}.attn.{projection}.{part}"), name, form));
            }
            return;
        }
    }
    if let Some(inner) = replaced(inner, &DOUBLE) {
        plan.push(Mapped::whole(format!("{target}.{inner}"), name));
    }
}

/// The width of the states, which is what a block's matrices take.
fn width_of_single(names: &Shapes, block: usize) -> u64 {
    let shape = names.get(&format!("single_blocks.{block}.linear1.weight"));
    shape.and_then(|shape| shape.get(1)).copied().unwrap_or_default()
}

fn single(name: &str, target: &str, inner: &str, rows: u64, width: u64, plan: &mut Vec<Mapped>) {
    let Some(part) = inner.strip_prefix("linear1.") else {
        plan.extend(replaced(inner, &SINGLE).map(|inner| Mapped::whole(format!("{target}.{inner}"), name)));
        return;
    };
    let ends = [("attn.to_q", 0..width), ("attn.to_k", width..width * 2), ("attn.to_v", width * 2..width * 3)];
    for (inner, range) in ends.into_iter().chain([("proj_mlp", width * 3..rows)]) {
        plan.push(Mapped::new(format!("{target}.{inner}.{part}"), name, Form::Rows(range)));
    }
}
