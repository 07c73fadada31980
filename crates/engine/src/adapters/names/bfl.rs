//! Names of FLUX in Black Forest Labs' own code (`double_blocks.0.img_attn.qkv`), which lays projections of the same input
//! together; and those that `XLabs`' trainer made of them.

use super::{Alias, Place, numbered};

/// A name of diffusers inside a double block and that of the original.
const DOUBLE: [(&str, &str); 12] = [
    ("norm1.linear", "img_mod.lin"),
    ("norm1_context.linear", "txt_mod.lin"),
    ("attn.to_out.0", "img_attn.proj"),
    ("attn.to_add_out", "txt_attn.proj"),
    ("attn.norm_q", "img_attn.norm.query_norm"),
    ("attn.norm_k", "img_attn.norm.key_norm"),
    ("attn.norm_added_q", "txt_attn.norm.query_norm"),
    ("attn.norm_added_k", "txt_attn.norm.key_norm"),
    ("ff.net.0.proj", "img_mlp.0"),
    ("ff.net.2", "img_mlp.2"),
    ("ff_context.net.0.proj", "txt_mlp.0"),
    ("ff_context.net.2", "txt_mlp.2"),
];

/// The same inside a single block.
const SINGLE: [(&str, &str); 4] = [
    ("norm.linear", "modulation.lin"),
    ("proj_out", "linear2"),
    ("attn.norm_q", "norm.query_norm"),
    ("attn.norm_k", "norm.key_norm"),
];

/// The same outside the blocks.
const OUTSIDE: [(&str, &str); 9] = [
    ("x_embedder", "img_in"),
    ("context_embedder", "txt_in"),
    ("time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"),
    ("time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"),
    ("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
    ("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
    ("time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
    ("time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
    ("proj_out", "final_layer.linear"),
];

/// Scale before shift in diffusers, shift before scale in the original.
const SWAPPED: (&str, &str) = ("norm_out.linear", "final_layer.adaLN_modulation.1");

/// Projections that are one in the original.
const PICTURE: [&str; 3] = ["attn.to_q", "attn.to_k", "attn.to_v"];
const TEXT: [&str; 3] = ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"];
const JOINT: [&str; 4] = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"];

/// The names of a FLUX transformer's layers; none for what is none.
pub fn aliases(layers: &[&str]) -> Vec<Alias> {
    let count = |word| layers.iter().filter_map(|layer| Some(numbered(layer, word)?.0 + 1)).max().unwrap_or(0);
    let (double, single) = (count("transformer_blocks"), count("single_transformer_blocks"));
    if single == 0 {
        return Vec::new();
    }
    let mut aliases = Vec::new();
    let has = |name: &str| layers.binary_search(&name).is_ok();
    for (known, original) in OUTSIDE {
        if has(known) {
            aliases.push((original.to_owned(), Place::One(known.to_owned())));
        }
    }
    if has(SWAPPED.0) {
        aliases.push((SWAPPED.1.to_owned(), Place::Halves(SWAPPED.0.to_owned())));
    }
    for i in 0..double {
        let at = |name: &str| format!("transformer_blocks.{i}.{name}");
        let original = |name: &str| format!("double_blocks.{i}.{name}");
        for (known, name) in DOUBLE {
            aliases.push((original(name), Place::One(at(known))));
        }
        fuse(&mut aliases, &original("img_attn.qkv"), PICTURE.map(at).to_vec());
        fuse(&mut aliases, &original("txt_attn.qkv"), TEXT.map(at).to_vec());
        // XLabs numbers the two streams.
        aliases.push((original("processor.qkv_lora1"), Place::Fused(PICTURE.map(at).to_vec())));
        aliases.push((original("processor.qkv_lora2"), Place::Fused(TEXT.map(at).to_vec())));
        aliases.push((original("processor.proj_lora1"), Place::One(at("attn.to_out.0"))));
        aliases.push((original("processor.proj_lora2"), Place::One(at("attn.to_add_out"))));
    }
    for i in 0..single {
        let at = |name: &str| format!("single_transformer_blocks.{i}.{name}");
        let original = |name: &str| format!("single_blocks.{i}.{name}");
        for (known, name) in SINGLE {
            aliases.push((original(name), Place::One(at(known))));
        }
        fuse(&mut aliases, &original("linear1"), JOINT.map(at).to_vec());
        aliases.push((original("processor.qkv"), Place::Fused(PICTURE.map(at).to_vec())));
        aliases.push((original("processor.proj"), Place::One(at("proj_out"))));
    }
    // A smaller model may lack some of what the original has.
    aliases.retain(|(_, place)| match place {
        Place::One(name) | Place::Halves(name) => has(name),
        Place::Fused(names) => names.iter().all(|name| has(name)),
    });
    aliases
}

/// The fused projection, and its parts as `OneTrainer` numbers them (`qkv.0`).
fn fuse(aliases: &mut Vec<Alias>, name: &str, parts: Vec<String>) {
    for (i, part) in parts.iter().enumerate() {
        aliases.push((format!("{name}.{i}"), Place::One(part.clone())));
    }
    aliases.push((name.to_owned(), Place::Fused(parts)));
}
