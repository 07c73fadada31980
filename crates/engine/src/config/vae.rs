//! `config.json` of an `AutoencoderKL` (defaults are those of its class in diffusers).

use serde_json::{Map, Value};

use super::reader::{Reader, as_count};
use crate::Result;
use crate::config::Activation;

/// The shape of an `AutoencoderKL` and how its latents are scaled.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the config's")]
pub struct VaeConfig {
    /// Channels of a picture that is encoded.
    pub in_channels: i64,
    /// Channels of a picture that was decoded.
    pub out_channels: i64,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Widths of the decoder's blocks in the order they run, the innermost first; the encoder's run the other way.
    pub block_channels: Vec<i64>,
    /// Resnets in each block of the encoder (`layers_per_block`); the decoder's have one more.
    pub resnets: i64,
    /// The side of the pictures that it was made for, in pixels; only tiles go by it.
    pub sample_size: i64,
    /// Groups of every group norm.
    pub norm_groups: i64,
    /// Activation inside the resnets.
    pub activation: Activation,
    /// Whether the middle block attends.
    pub mid_attention: bool,
    /// Whether a 1×1 convolution comes after the encoder.
    pub quant_conv: bool,
    /// Whether a 1×1 convolution comes before the decoder.
    pub post_quant_conv: bool,
    /// Whether half precision overflows, so that decoding is done in single.
    pub force_upcast: bool,
    /// What latents were multiplied by.
    pub scaling_factor: f64,
    /// Mean and standard deviation of the latents' channels, where both are given.
    pub latents_statistics: Option<(Vec<f64>, Vec<f64>)>,
    /// A shift of the latents. diffusers' SDXL pipeline does not apply it.
    pub shift_factor: Option<f64>,
}

impl VaeConfig {
    /// Reads the config of `component`.
    pub fn read(component: &str, map: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::new(component, map);
        let mut block_channels = reader.counts("block_out_channels", &[64])?;
        let blocks = reader.texts("up_block_types", &["UpDecoderBlock2D"])?;
        if block_channels.is_empty() || blocks.len() != block_channels.len() {
            return Err(reader.error(format!(
                "up_block_types has {} entries and block_out_channels {}; both need one for each block",
                blocks.len(),
                block_channels.len()
            )));
        }
        if blocks.iter().any(|block| *block != "UpDecoderBlock2D") {
            return Err(reader.unsupported("up_block_types", "only UpDecoderBlock2D is supported"));
        }
        if reader.value("down_block_types").is_some() {
            let blocks = reader.texts("down_block_types", &[])?;
            if blocks.len() != block_channels.len() || blocks.iter().any(|block| *block != "DownEncoderBlock2D") {
                let needed = block_channels.len();
                return Err(reader.unsupported("down_block_types", format!("{needed} DownEncoderBlock2D are needed")));
            }
        }
        block_channels.reverse();
        let latent_channels = reader.count("latent_channels", 4, 1)?;
        let config = Self {
            in_channels: reader.count("in_channels", 3, 1)?,
            out_channels: reader.count("out_channels", 3, 1)?,
            latent_channels,
            block_channels,
            resnets: reader.count("layers_per_block", 1, 0)?,
            sample_size: sample_size(&mut reader)?,
            norm_groups: reader.count("norm_num_groups", 32, 1)?,
            activation: Activation::read(&mut reader, "act_fn")?,
            mid_attention: reader.flag("mid_block_add_attention", true)?,
            quant_conv: reader.flag("use_quant_conv", true)?,
            post_quant_conv: reader.flag("use_post_quant_conv", true)?,
            force_upcast: reader.flag("force_upcast", true)?,
            scaling_factor: reader.float("scaling_factor", 0.18215)?,
            latents_statistics: statistics(&mut reader, latent_channels)?,
            shift_factor: reader.optional_float("shift_factor")?,
        };
        if config.scaling_factor == 0.0 {
            return Err(reader.unsupported("scaling_factor", "latents are divided by it"));
        }
        reader.finish()?;
        Ok(config)
    }

    /// Pixels to one latent, along a side.
    pub fn scale_factor(&self) -> u32 {
        let doublings = self.block_channels.len().saturating_sub(1);
        u32::try_from(doublings).ok().and_then(|n| 1u32.checked_shl(n)).unwrap_or(u32::MAX)
    }
}

/// A side, or both sides, of which diffusers takes the first.
fn sample_size(reader: &mut Reader<'_>) -> Result<i64> {
    match reader.value("sample_size") {
        Some(Value::Array(sides)) => sides.first().and_then(|side| as_count(side, 1)),
        None | Some(Value::Null) => Some(32),
        Some(side) => as_count(side, 1),
    }
    .ok_or_else(|| reader.unsupported("sample_size", "a whole number of pixels is needed"))
}

/// Both or nothing: diffusers uses neither when one is missing.
fn statistics(reader: &mut Reader<'_>, channels: i64) -> Result<Option<(Vec<f64>, Vec<f64>)>> {
    let mean = reader.optional_floats("latents_mean")?;
    let std = reader.optional_floats("latents_std")?;
    let (Some(mean), Some(std)) = (mean, std) else {
        return Ok(None);
    };
    for (key, values) in [("latents_mean", &mean), ("latents_std", &std)] {
        if i64::try_from(values.len()) != Ok(channels) {
            return Err(reader.unsupported(key, format!("{channels} numbers are needed: one for each channel")));
        }
    }
    Ok(Some((mean, std)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::VaeConfig;

    fn read(value: &Value) -> crate::Result<VaeConfig> {
        let map: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
        VaeConfig::read("vae", &map)
    }

    #[test]
    fn the_decoder_runs_inside_out() {
        let config = read(&json!({
            "block_out_channels": [16, 32, 64],
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
            "layers_per_block": 2,
        }))
        .unwrap();
        assert_eq!(config.block_channels, [64, 32, 16]);
        assert_eq!((config.resnets, config.scale_factor()), (2, 4));
    }

    #[test]
    fn other_blocks_are_refused_by_name() {
        let error = read(&json!({"up_block_types": ["AttnUpDecoderBlock2D"]})).unwrap_err();
        assert!(error.to_string().contains("AttnUpDecoderBlock2D"), "{error}");
    }

    #[test]
    fn statistics_count_only_when_complete() {
        assert_eq!(read(&json!({"latents_mean": [1, 2, 3, 4]})).unwrap().latents_statistics, None);
        assert!(read(&json!({"latents_mean": [1, 2, 3, 4], "latents_std": [1]})).is_err());
    }
}
