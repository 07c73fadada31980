//! The autoencoder of latent diffusion. Its decoder numbers its levels from the outside, diffusers from the inside.

use super::walk::{number, numbered, replaced};
use super::{Form, Mapped, Shapes};

const OUTSIDE: [(&str, &str); 10] = [
    ("conv_in", "conv_in"),
    ("conv_out", "conv_out"),
    ("norm_out", "conv_norm_out"),
    ("mid.block_1", "mid_block.resnets.0"),
    ("mid.block_2", "mid_block.resnets.1"),
    ("mid.attn_1.norm", "mid_block.attentions.0.group_norm"),
    ("mid.attn_1.q", "mid_block.attentions.0.to_q"),
    ("mid.attn_1.k", "mid_block.attentions.0.to_k"),
    ("mid.attn_1.v", "mid_block.attentions.0.to_v"),
    ("mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"),
];

pub(super) fn map(names: &Shapes) -> Vec<Mapped> {
    let levels = numbered(names, "decoder.up.").len();
    let target = |name: &str| -> Option<String> {
        if name.starts_with("quant_conv.") || name.starts_with("post_quant_conv.") {
            return Some(name.to_owned());
        }
        let (half, inner) = name.split_once('.')?;
        let inner = match (half, inner.split_once('.')?) {
            ("encoder", ("down", rest)) => {
                let (i, rest) = number(rest)?;
                format!("down_blocks.{i}.{}", level(rest)?)
            }
            ("decoder", ("up", rest)) => {
                let (i, rest) = number(rest)?;
                format!("up_blocks.{}.{}", levels.checked_sub(i + 1)?, level(rest)?)
            }
            ("encoder" | "decoder", _) => shortcut(&replaced(inner, &OUTSIDE)?),
            _ => return None,
        };
        Some(format!("{half}.{inner}"))
    };
    names
        .iter()
        .filter_map(|(name, shape)| {
            let target = target(name)?;
            let form = attention_form(&target, shape);
            Some(Mapped::new(target, name, form))
        })
        .collect()
}

/// What a level holds.
fn level(rest: &str) -> Option<String> {
    if let Some(resnet) = rest.strip_prefix("block.") {
        return Some(format!("resnets.{}", shortcut(resnet)));
    }
    replaced(rest, &[("downsample", "downsamplers.0"), ("upsample", "upsamplers.0")])
}

fn shortcut(name: &str) -> String {
    name.replace(".nin_shortcut.", ".conv_shortcut.")
}

/// The projections of the attention are matrices in diffusers and 1×1 convolutions elsewhere.
pub(super) fn attention_form(name: &str, shape: &[u64]) -> Form {
    match shape {
        [outputs, inputs, 1] | [outputs, inputs, 1, 1]
            if name.contains(".attentions.") && name.ends_with(".weight") && !name.contains("norm") =>
        {
            Form::Reshaped(vec![*outputs, *inputs])
        }
        _ => Form::Whole,
    }
}
