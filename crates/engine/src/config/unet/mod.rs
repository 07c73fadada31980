//! `config.json` of a `UNet2DConditionModel` (defaults are those of its class in diffusers), as a plan of its blocks.

mod blocks;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use blocks::{AttentionConfig, BlockConfig, MidConfig};

use super::reader::Reader;
use crate::Result;
use crate::config::Activation;

/// The shape of a UNet.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Channels of its input.
    pub in_channels: i64,
    /// Channels of its output.
    pub out_channels: i64,
    /// Whether the input is mapped from 0…1 to -1…1 first.
    pub center_input_sample: bool,
    /// Side of the square convolution at the start.
    pub conv_in_kernel: i64,
    /// Side of the square convolution at the end.
    pub conv_out_kernel: i64,
    /// Width after the first convolution.
    pub first_channels: i64,
    /// How the timestep is embedded.
    pub time: TimeConfig,
    /// How pooled text and sizes are embedded: `addition_embed_type` `text_time`.
    pub added: Option<AddedConfig>,
    /// What all resnets share.
    pub resnet: ResnetConfig,
    /// Zeros around the input of a downsampling convolution; 0 stands for one column and row at the end.
    pub downsample_padding: i64,
    /// Blocks on the way down, as they run.
    pub down: Vec<BlockConfig>,
    /// The middle block.
    pub mid: Option<MidConfig>,
    /// Blocks on the way up, as they run.
    pub up: Vec<BlockConfig>,
}

/// How the timestep is embedded.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeConfig {
    /// Width of the embedding.
    pub embed_dim: i64,
    /// Cosines before sines.
    pub flip_sin_to_cos: bool,
    /// Subtracted from the number of frequencies before dividing by it.
    pub freq_shift: f64,
    /// Activation inside the embedding.
    pub activation: Activation,
    /// Activation after the embedding.
    pub post_activation: Option<Activation>,
    /// Activation after everything has been added to the embedding.
    pub final_activation: Option<Activation>,
    /// Width of a guidance embedding that is added before (latent consistency models).
    pub cond_proj_dim: Option<i64>,
}

/// How pooled text and sizes are embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedConfig {
    /// Width of one size's sinusoid.
    pub time_dim: i64,
    /// Width of the pooled text and all sinusoids together.
    pub input_dim: i64,
}

/// What all resnets share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResnetConfig {
    /// Groups of the group norms.
    pub groups: i64,
    /// Epsilon of the group norms.
    pub eps: f64,
    /// Activation.
    pub activation: Activation,
    /// Whether the timestep scales and shifts the second norm's output, instead of being added before it.
    pub scale_shift: bool,
}

impl UNetConfig {
    /// Reads the config of `component`.
    pub fn read(component: &str, map: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::new(component, map);
        refuse_what_is_not_built(&mut reader)?;
        let widths = reader.counts("block_out_channels", &[320, 640, 1280, 1280])?;
        let Some(&first_channels) = widths.first() else {
            return Err(reader.unsupported("block_out_channels", "at least one width is needed"));
        };
        let activation = Activation::read(&mut reader, "act_fn")?;
        let resnet = ResnetConfig {
            groups: reader.count("norm_num_groups", 32, 1)?,
            eps: reader.float("norm_eps", 1e-5)?,
            activation,
            scale_shift: match reader.text("resnet_time_scale_shift", "default")? {
                "default" => false,
                "scale_shift" => true,
                _ => return Err(reader.unsupported("resnet_time_scale_shift", "default and scale_shift are supported")),
            },
        };
        let blocks = blocks::read(&mut reader, &widths)?;
        let config = Self {
            in_channels: reader.count("in_channels", 4, 1)?,
            out_channels: reader.count("out_channels", 4, 1)?,
            center_input_sample: reader.flag("center_input_sample", false)?,
            conv_in_kernel: odd(&mut reader, "conv_in_kernel")?,
            conv_out_kernel: odd(&mut reader, "conv_out_kernel")?,
            first_channels,
            time: time(&mut reader, first_channels, activation)?,
            added: added(&mut reader)?,
            resnet,
            downsample_padding: reader.count("downsample_padding", 1, 0)?,
            down: blocks.down,
            mid: blocks.mid,
            up: blocks.up,
        };
        reader.finish()?;
        Ok(config)
    }

    /// The width of the text states that the blocks attend to, or the first two that differ.
    pub fn text_width(&self) -> Result<Option<i64>, (i64, i64)> {
        let blocks = self.down.iter().chain(&self.up).filter_map(|block| block.attention.as_ref());
        let mid = self.mid.as_ref().and_then(|mid| mid.attention.as_ref());
        let mut width = None;
        for attention in blocks.chain(mid) {
            match width {
                Some(known) if known != attention.text_dim => return Err((known, attention.text_dim)),
                _ => width = Some(attention.text_dim),
            }
        }
        Ok(width)
    }
}

/// Refuses the branches of the class that no SDXL-shaped model takes, and passes over what its blocks never read.
fn refuse_what_is_not_built(reader: &mut Reader<'_>) -> Result<()> {
    reader.only("num_attention_heads", &Value::Null)?;
    reader.only("dual_cross_attention", &Value::Null)?;
    reader.only("encoder_hid_dim", &Value::Null)?;
    reader.only("encoder_hid_dim_type", &Value::Null)?;
    reader.only("class_embed_type", &Value::Null)?;
    reader.only("num_class_embeds", &Value::Null)?;
    reader.only("class_embeddings_concat", &Value::Null)?;
    reader.only("attention_type", &json!("default"))?;
    reader.only("time_embedding_type", &json!("positional"))?;
    // Dropout is for training. The others only reach block types that are refused.
    reader.no_effect(&[
        "sample_size",
        "dropout",
        "resnet_skip_time_act",
        "resnet_out_scale_factor",
        "mid_block_only_cross_attention",
        "cross_attention_norm",
        "addition_embed_type_num_heads",
    ]);
    Ok(())
}

fn time(reader: &mut Reader<'_>, first_channels: i64, activation: Activation) -> Result<TimeConfig> {
    Ok(TimeConfig {
        embed_dim: reader.optional_count("time_embedding_dim")?.unwrap_or(first_channels.saturating_mul(4)),
        flip_sin_to_cos: reader.flag("flip_sin_to_cos", true)?,
        freq_shift: reader.float("freq_shift", 0.0)?,
        activation,
        post_activation: Activation::read_optional(reader, "timestep_post_act")?,
        final_activation: Activation::read_optional(reader, "time_embedding_act_fn")?,
        cond_proj_dim: reader.optional_count("time_cond_proj_dim")?,
    })
}

fn added(reader: &mut Reader<'_>) -> Result<Option<AddedConfig>> {
    match reader.optional_text("addition_embed_type")? {
        None => {
            reader.no_effect(&["addition_time_embed_dim", "projection_class_embeddings_input_dim"]);
            Ok(None)
        }
        Some("text_time") => Ok(Some(AddedConfig {
            time_dim: reader.needed("addition_time_embed_dim")?,
            input_dim: reader.needed("projection_class_embeddings_input_dim")?,
        })),
        Some(_) => Err(reader.unsupported("addition_embed_type", "text_time is supported")),
    }
}

/// An even kernel would make the picture a pixel smaller.
fn odd<'a>(reader: &mut Reader<'a>, key: &'a str) -> Result<i64> {
    let side = reader.count(key, 3, 1)?;
    if side % 2 == 1 { Ok(side) } else { Err(reader.unsupported(key, "an odd number is needed")) }
}
