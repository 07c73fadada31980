//! From diffusers' names to those of other worlds, as diffusers' `convert_diffusers_to_original_*.py` and Black Forest
//! Labs' and OpenCLIP's own modules have them.

use easel_engine::config::UNetConfig;

use super::{Stored, Tensors};

/// The UNet in the names of latent diffusion, behind a prefix.
pub fn sgm_unet(config: &UNetConfig, tensors: &Tensors, prefix: &str) -> Tensors {
    let outer = [
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("time_embedding.cond_proj", "time_embed.cond_proj"),
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
    ];
    let mut out = Tensors::new();
    for (name, tensor) in tensors {
        let pieces: Vec<&str> = name.split('.').collect();
        let source = match pieces.as_slice() {
            ["down_blocks", i, "resnets", j, rest @ ..] => {
                format!("input_blocks.{}.0.{}", input(config, i) + index(j), resnet(rest))
            }
            ["down_blocks", i, "attentions", j, rest @ ..] => {
                format!("input_blocks.{}.1.{}", input(config, i) + index(j), rest.join("."))
            }
            ["down_blocks", i, "downsamplers", "0", "conv", end] => {
                format!("input_blocks.{}.0.op.{end}", input(config, i) + config.down[index(i)].resnets)
            }
            ["mid_block", "resnets", j, rest @ ..] => format!("middle_block.{}.{}", index(j) * 2, resnet(rest)),
            ["mid_block", "attentions", "0", rest @ ..] => format!("middle_block.1.{}", rest.join(".")),
            ["up_blocks", i, "resnets", j, rest @ ..] => {
                format!("output_blocks.{}.0.{}", output(config, i) + index(j), resnet(rest))
            }
            ["up_blocks", i, "attentions", j, rest @ ..] => {
                format!("output_blocks.{}.1.{}", output(config, i) + index(j), rest.join("."))
            }
            ["up_blocks", i, "upsamplers", "0", "conv", end] => {
                let block = &config.up[index(i)];
                let place = if block.attention.is_some() { 2 } else { 1 };
                format!("output_blocks.{}.{place}.conv.{end}", output(config, i) + block.resnets - 1)
            }
            _ => {
                let (from, to) = outer.iter().find(|(from, _)| name.starts_with(from)).expect("a name of the unet");
                name.replacen(from, to, 1)
            }
        };
        out.insert(format!("{prefix}{source}"), tensor.clone());
    }
    assert_eq!(out.len(), tensors.len());
    out
}

fn index(text: &str) -> usize {
    text.parse().unwrap()
}

/// The first block of a level on the way down: one for each resnet before it, one for each halving, one for `conv_in`.
fn input(config: &UNetConfig, level: &str) -> usize {
    1 + config.down[..index(level)].iter().map(|block| block.resnets + 1).sum::<usize>()
}

fn output(config: &UNetConfig, level: &str) -> usize {
    config.up[..index(level)].iter().map(|block| block.resnets).sum()
}

fn resnet(rest: &[&str]) -> String {
    let [name, end] = rest else { panic!("{rest:?}") };
    let place = match *name {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "time_emb_proj" => "emb_layers.1",
        "conv_shortcut" => "skip_connection",
        other => panic!("{other}"),
    };
    format!("{place}.{end}")
}

/// The autoencoder in the names of latent diffusion. Its attention's matrices become convolutions of one pixel.
pub fn sgm_vae(tensors: &Tensors, prefix: &str) -> Tensors {
    let level = |name: &str| name.strip_prefix("decoder.up_blocks.")?.split('.').next()?.parse::<usize>().ok();
    let levels = tensors.keys().filter_map(|name| level(name)).max().map_or(0, |last| last + 1);
    let mut out = Tensors::new();
    for (name, tensor) in tensors {
        let mut source = name.clone();
        for i in 0..levels {
            let from = format!("decoder.up_blocks.{i}.");
            if name.starts_with(&from) {
                source = source.replace(&from, &format!("decoder.up.{}.", levels - 1 - i));
            }
        }
        for (from, to) in [
            ("down_blocks.", "down."),
            (".resnets.", ".block."),
            ("mid_block.block.0", "mid.block_1"),
            ("mid_block.block.1", "mid.block_2"),
            ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
            ("mid_block.attentions.0.to_q", "mid.attn_1.q"),
            ("mid_block.attentions.0.to_k", "mid.attn_1.k"),
            ("mid_block.attentions.0.to_v", "mid.attn_1.v"),
            ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
            ("downsamplers.0", "downsample"),
            ("upsamplers.0", "upsample"),
            ("conv_shortcut", "nin_shortcut"),
            ("conv_norm_out", "norm_out"),
        ] {
            source = source.replace(from, to);
        }
        let mut tensor = tensor.clone();
        if source.contains("attn_1") && tensor.shape.len() == 2 {
            tensor.shape.extend([1, 1]);
        }
        out.insert(format!("{prefix}{source}"), tensor);
    }
    assert_eq!(out.len(), tensors.len());
    out
}

/// CLIP behind a prefix, with `text_model.` before its names.
pub fn clip(tensors: &Tensors, prefix: &str) -> Tensors {
    let named = |name: &String| {
        if name.starts_with("text_model.") || name.starts_with("text_projection") {
            format!("{prefix}{name}")
        } else {
            format!("{prefix}text_model.{name}")
        }
    };
    tensors.iter().map(|(name, tensor)| (named(name), tensor.clone())).collect()
}

/// CLIP in OpenCLIP's names.
pub fn openclip(tensors: &Tensors, prefix: &str) -> Tensors {
    let mut out = Tensors::new();
    for (name, tensor) in tensors {
        let name = name.strip_prefix("text_model.").unwrap_or(name);
        let mut source = name.to_owned();
        for (from, to) in [
            ("encoder.layers.", "transformer.resblocks."),
            (".self_attn.out_proj.", ".attn.out_proj."),
            (".mlp.fc1.", ".mlp.c_fc."),
            (".mlp.fc2.", ".mlp.c_proj."),
            (".layer_norm1.", ".ln_1."),
            (".layer_norm2.", ".ln_2."),
            ("final_layer_norm.", "ln_final."),
            ("embeddings.token_embedding.", "token_embedding."),
            ("embeddings.position_embedding.weight", "positional_embedding"),
        ] {
            source = source.replace(from, to);
        }
        if name == "text_projection.weight" {
            out.insert(format!("{prefix}text_projection"), turned(tensor));
        } else if source.contains(".self_attn.q_proj.") {
            let parts = ["q_proj", "k_proj", "v_proj"].map(|other| {
                let twin = name.replace("q_proj", other);
                tensors.get(&twin).or_else(|| tensors.get(&format!("text_model.{twin}"))).expect("three projections")
            });
            let source = source.replace(".self_attn.q_proj.", ".attn.in_proj_");
            out.insert(format!("{prefix}{source}"), joined(&parts));
        } else if !source.contains(".self_attn.") {
            out.insert(format!("{prefix}{source}"), tensor.clone());
        }
    }
    out
}

/// FLUX in the names of Black Forest Labs.
pub fn bfl(tensors: &Tensors, prefix: &str) -> Tensors {
    let mut out = Tensors::new();
    let get = |name: &str| tensors.get(name).unwrap_or_else(|| panic!("{name}"));
    let mut put = |name: String, tensor: Stored| {
        assert!(out.insert(format!("{prefix}{name}"), tensor).is_none());
    };
    for end in ["weight", "bias"] {
        let mut outer = vec![
            ("x_embedder", "img_in"),
            ("context_embedder", "txt_in"),
            ("time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"),
            ("time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"),
            ("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
            ("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
            ("proj_out", "final_layer.linear"),
        ];
        if tensors.contains_key("time_text_embed.guidance_embedder.linear_1.weight") {
            outer.push(("time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"));
            outer.push(("time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"));
        }
        for (from, to) in outer {
            put(format!("{to}.{end}"), get(&format!("{from}.{end}")).clone());
        }
        let scale_shift = get(&format!("norm_out.linear.{end}"));
        put(format!("final_layer.adaLN_modulation.1.{end}"), swapped(scale_shift));
        for i in (0..).take_while(|i| tensors.contains_key(&format!("transformer_blocks.{i}.norm1.linear.weight"))) {
            let from = |name: &str| get(&format!("transformer_blocks.{i}.{name}.{end}"));
            let to = |name: &str| format!("double_blocks.{i}.{name}.{end}");
            for (stream, modulation, projections, attention_out, feed_forward) in [
                ("img", "norm1.linear", ["attn.to_q", "attn.to_k", "attn.to_v"], "attn.to_out.0", "ff"),
                (
                    "txt",
                    "norm1_context.linear",
                    ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
                    "attn.to_add_out",
                    "ff_context",
                ),
            ] {
                put(to(&format!("{stream}_mod.lin")), from(modulation).clone());
                put(to(&format!("{stream}_attn.qkv")), joined(&projections.map(from)));
                put(to(&format!("{stream}_attn.proj")), from(attention_out).clone());
                put(to(&format!("{stream}_mlp.0")), from(&format!("{feed_forward}.net.0.proj")).clone());
                put(to(&format!("{stream}_mlp.2")), from(&format!("{feed_forward}.net.2")).clone());
            }
            if end == "weight" {
                for (norm, place) in [
                    ("norm_q", "img_attn.norm.query_norm"),
                    ("norm_k", "img_attn.norm.key_norm"),
                    ("norm_added_q", "txt_attn.norm.query_norm"),
                    ("norm_added_k", "txt_attn.norm.key_norm"),
                ] {
                    put(format!("double_blocks.{i}.{place}.scale"), from(&format!("attn.{norm}")).clone());
                }
            }
        }
        let single = "single_transformer_blocks";
        for i in (0..).take_while(|i| tensors.contains_key(&format!("{single}.{i}.norm.linear.weight"))) {
            let from = |name: &str| get(&format!("{single}.{i}.{name}.{end}"));
            let to = |name: &str| format!("single_blocks.{i}.{name}.{end}");
            put(to("modulation.lin"), from("norm.linear").clone());
            put(to("linear1"), joined(&["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"].map(from)));
            put(to("linear2"), from("proj_out").clone());
            if end == "weight" {
                put(format!("single_blocks.{i}.norm.query_norm.scale"), from("attn.norm_q").clone());
                put(format!("single_blocks.{i}.norm.key_norm.scale"), from("attn.norm_k").clone());
            }
        }
    }
    out
}

/// Rows under each other.
fn joined(parts: &[&Stored]) -> Stored {
    let mut shape = parts[0].shape.clone();
    shape[0] = parts.iter().map(|part| part.shape[0]).sum();
    let bytes = parts.iter().map(|part| part.bytes.clone()).collect::<Option<Vec<_>>>().map(|bytes| bytes.concat());
    Stored { dtype: parts[0].dtype, shape, bytes }
}

/// The second half of the rows before the first.
fn swapped(tensor: &Stored) -> Stored {
    let bytes = tensor.bytes.as_ref().map(|bytes| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        [second, first].concat()
    });
    Stored { bytes, ..tensor.clone() }
}

/// A matrix with rows for columns.
fn turned(tensor: &Stored) -> Stored {
    let [rows, columns] = [0, 1].map(|axis| usize::try_from(tensor.shape[axis]).unwrap());
    let width = tensor.width();
    let bytes = tensor.bytes.as_ref().map(|bytes| {
        let element = |row: usize, column: usize| {
            let at = (row * columns + column) * width;
            bytes[at..at + width].to_vec()
        };
        (0..columns).flat_map(|column| (0..rows).flat_map(move |row| element(row, column))).collect()
    });
    Stored { dtype: tensor.dtype, shape: vec![tensor.shape[1], tensor.shape[0]], bytes }
}
