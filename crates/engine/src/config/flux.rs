//! `config.json` of a `FluxTransformer2DModel` (defaults are those of its class in diffusers).

use serde_json::{Map, Value};

use super::reader::Reader;
use crate::Result;

/// The shape of FLUX's transformer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluxConfig {
    /// Numbers of a patch that come in: 64 for FLUX.1, 384 for Fill, 128 for Depth and Canny.
    pub in_channels: i64,
    /// Numbers of a patch that go out.
    pub out_channels: i64,
    /// Blocks in which text and picture have weights of their own.
    pub double_blocks: i64,
    /// Blocks in which they share them.
    pub single_blocks: i64,
    /// Attention heads.
    pub heads: i64,
    /// Width of a head.
    pub head_dim: i64,
    /// Width of the text's states.
    pub text_dim: i64,
    /// Width of the pooled text.
    pub pooled_dim: i64,
    /// Whether the network was distilled to be told of the guidance (dev) or not (schnell).
    pub guidance_embeds: bool,
    /// How the numbers of a head are shared out to the three axes of a position; even, `head_dim` together.
    pub axes: [i64; 3],
}

impl FluxConfig {
    /// Reads the config of `component`.
    pub fn read(component: &str, map: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::new(component, map);
        reader.only("quantization_config", &Value::Null)?;
        let in_channels = reader.count("in_channels", 64, 1)?;
        let patch = reader.count("patch_size", 1, 1)?;
        let out_channels = reader.optional_count("out_channels")?.unwrap_or(in_channels);
        let axes = reader.counts("axes_dims_rope", &[16, 56, 56])?;
        let &[frame, row, column] = axes.as_slice() else {
            return Err(reader.unsupported("axes_dims_rope", "three numbers are needed: positions have three axes"));
        };
        let config = Self {
            in_channels,
            out_channels: out_channels.saturating_mul(patch).saturating_mul(patch),
            double_blocks: reader.count("num_layers", 19, 0)?,
            single_blocks: reader.count("num_single_layers", 38, 0)?,
            heads: reader.count("num_attention_heads", 24, 1)?,
            head_dim: reader.count("attention_head_dim", 128, 1)?,
            text_dim: reader.count("joint_attention_dim", 4096, 1)?,
            pooled_dim: reader.count("pooled_projection_dim", 768, 1)?,
            guidance_embeds: reader.flag("guidance_embeds", false)?,
            axes: [frame, row, column],
        };
        if axes.iter().any(|axis| axis % 2 != 0) || axes.iter().sum::<i64>() != config.head_dim {
            let head = config.head_dim;
            let message = format!("even numbers are needed that make attention_head_dim {head} together");
            return Err(reader.unsupported("axes_dims_rope", message));
        }
        reader.finish()?;
        Ok(config)
    }

    /// Width of a token's state.
    pub fn width(&self) -> i64 {
        self.heads.saturating_mul(self.head_dim)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::FluxConfig;

    fn read(value: &Value) -> crate::Result<FluxConfig> {
        let map: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
        FluxConfig::read("transformer", &map)
    }

    #[test]
    fn the_file_of_dev_is_read() {
        let config = read(&json!({
            "_class_name": "FluxTransformer2DModel", "_diffusers_version": "0.30.0.dev0", "attention_head_dim": 128,
            "guidance_embeds": true, "in_channels": 64, "joint_attention_dim": 4096, "num_attention_heads": 24,
            "num_layers": 19, "num_single_layers": 38, "patch_size": 1, "pooled_projection_dim": 768
        }))
        .unwrap();
        assert_eq!((config.width(), config.axes, config.out_channels), (3072, [16, 56, 56], 64));
        assert!(config.guidance_embeds);
    }

    #[test]
    fn fill_and_its_kin_take_more_than_they_give() {
        let config = read(&json!({"in_channels": 384, "out_channels": 64})).unwrap();
        assert_eq!((config.in_channels, config.out_channels), (384, 64));
        assert_eq!(read(&json!({"in_channels": 16, "patch_size": 2, "out_channels": null})).unwrap().out_channels, 64);
    }

    #[test]
    fn axes_must_make_a_head() {
        for axes in [json!([16, 56, 54]), json!([15, 57, 56]), json!([64, 64]), json!([16, 56, 28, 28])] {
            let error = read(&json!({"axes_dims_rope": axes})).unwrap_err().to_string();
            assert!(error.contains("axes_dims_rope"), "{error}");
        }
    }

    #[test]
    fn other_keys_are_refused_by_name() {
        assert!(read(&json!({"num_hats": 2})).unwrap_err().to_string().contains("num_hats"));
    }
}
