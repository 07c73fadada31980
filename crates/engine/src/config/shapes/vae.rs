//! `AutoencoderKL` from its shapes, and from the family of the model that it is used in: the autoencoders of Stable
//! Diffusion 1 and of SDXL have the same shapes and other scales.

use serde_json::{Map, Value, json};

use super::{Facts, groups_of};
use crate::Result;

/// Whose latents it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaeFamily {
    /// Stable Diffusion 1 and 2.
    Sd,
    /// Stable Diffusion XL.
    Sdxl,
    /// FLUX.1.
    Flux,
}

impl VaeFamily {
    /// What latents are multiplied by, what is taken from them first, and the side of the pictures it was trained on.
    fn scale(self) -> (f64, Option<f64>, u64) {
        match self {
            Self::Sd => (0.18215, None, 512),
            Self::Sdxl => (0.13025, None, 1024),
            Self::Flux => (0.3611, Some(0.1159), 1024),
        }
    }
}

/// The config of an autoencoder.
pub fn vae(facts: &Facts<'_>, family: VaeFamily) -> Result<Map<String, Value>> {
    let levels = facts.count("decoder.up_blocks.");
    let mut widths = (0..levels)
        .map(|i| facts.axis(&format!("decoder.up_blocks.{i}.resnets.0.conv1.weight"), 0))
        .collect::<Result<Vec<_>>>()?;
    if widths.is_empty() {
        return Err(facts.error("no level of the decoder is in the weights"));
    }
    widths.reverse();
    let resnets = facts.count("decoder.up_blocks.0.resnets.");
    let latents = facts.axis("decoder.conv_in.weight", 1)?;
    if let Some(odd) = (0..levels).find(|i| facts.has(&format!("decoder.up_blocks.{i}.attentions."))) {
        return Err(facts.error(format!("level {odd} of the decoder attends; only the middle is supported to")));
    }
    let (scaling_factor, shift_factor, sample_size) = family.scale();
    let mut config = Map::from_iter([
        ("_class_name".to_owned(), json!("AutoencoderKL")),
        ("in_channels".to_owned(), json!(facts.find("encoder.conv_in.weight", 1).unwrap_or(3))),
        ("out_channels".to_owned(), json!(facts.axis("decoder.conv_out.weight", 0)?)),
        ("latent_channels".to_owned(), json!(latents)),
        ("layers_per_block".to_owned(), json!(resnets.saturating_sub(1))),
        ("norm_num_groups".to_owned(), json!(groups_of(&widths))),
        ("block_out_channels".to_owned(), json!(widths)),
        ("down_block_types".to_owned(), json!(vec!["DownEncoderBlock2D"; levels])),
        ("up_block_types".to_owned(), json!(vec!["UpDecoderBlock2D"; levels])),
        ("scaling_factor".to_owned(), json!(scaling_factor)),
        ("sample_size".to_owned(), json!(sample_size)),
        ("force_upcast".to_owned(), json!(true)),
    ]);
    if let Some(shift) = shift_factor {
        config.insert("shift_factor".to_owned(), json!(shift));
    }
    // A file of a decoder alone says nothing about the encoder's half.
    let has_encoder = facts.has("encoder.");
    let switches = [
        ("use_quant_conv", facts.has("quant_conv.") || !has_encoder && facts.has("post_quant_conv.")),
        ("use_post_quant_conv", facts.has("post_quant_conv.")),
        ("mid_block_add_attention", facts.has("decoder.mid_block.attentions.")),
    ];
    config.extend(switches.into_iter().filter(|(_, on)| !on).map(|(key, on)| (key.to_owned(), json!(on))));
    Ok(config)
}
