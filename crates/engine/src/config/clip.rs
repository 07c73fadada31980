//! `config.json` of a CLIP text encoder (`CLIPTextConfig` of transformers, whose defaults these are).

use serde_json::{Map, Value, json};

use super::reader::{Reader, as_count};
use crate::Result;
use crate::config::Activation;

/// The end-of-text id that configs written before transformers 4.31 carry by mistake. It means: the highest id.
pub const LEGACY_EOS: i64 = 2;

/// The shape of a CLIP text encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    /// Rows of the token table.
    pub vocab_size: i64,
    /// Width of a token's state.
    pub hidden_size: i64,
    /// Width inside the feed-forward layers.
    pub intermediate_size: i64,
    /// Encoder layers, at least 1.
    pub layers: i64,
    /// Attention heads, which divide the width.
    pub heads: i64,
    /// Longest prompt in tokens.
    pub positions: i64,
    /// Activation of the feed-forward layers.
    pub activation: Activation,
    /// Epsilon of every layer norm.
    pub norm_eps: f64,
    /// The id whose state is pooled, or [`LEGACY_EOS`].
    pub eos_token_id: i64,
    /// Width of the pooled projection; `None` for an encoder without one (`CLIPTextModel`).
    pub projection_dim: Option<i64>,
    /// Keys that were not understood; transformers lets anything stand here, and so it is said, not refused.
    pub unread: Vec<String>,
}

impl ClipConfig {
    /// Reads the config of `component`, whose class is `class`.
    pub fn read(component: &str, class: &str, map: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::new(component, map);
        let projected = match class {
            "CLIPTextModel" => false,
            "CLIPTextModelWithProjection" => true,
            other => {
                return Err(reader.error(format!(
                    "class {other} is not supported, only CLIPTextModel and CLIPTextModelWithProjection"
                )));
            }
        };
        reader.only("quantization_config", &Value::Null)?;
        reader.only("tie_word_embeddings", &json!(true))?;
        reader.no_effect(&[
            "architectures",
            "attention_dropout",
            "bos_token_id",
            "dropout",
            "dtype",
            "gradient_checkpointing",
            "initializer_factor",
            "initializer_range",
            "model_type",
            "pad_token_id",
            "torch_dtype",
            "transformers_version",
            "use_cache",
        ]);
        let name = reader.text("hidden_act", "quick_gelu")?;
        let activation = match name {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::Gelu,
            _ => return Err(reader.unsupported("hidden_act", "quick_gelu and gelu are supported")),
        };
        let projection = match reader.value("projection_dim") {
            None => Some(512),
            Some(Value::Null) => None,
            Some(_) => Some(reader.count("projection_dim", 512, 1)?),
        };
        if projected && projection.is_none() {
            return Err(reader.unsupported("projection_dim", "CLIPTextModelWithProjection needs a number"));
        }
        let config = Self {
            vocab_size: reader.count("vocab_size", 49_408, 1)?,
            hidden_size: reader.count("hidden_size", 512, 1)?,
            intermediate_size: reader.count("intermediate_size", 2048, 1)?,
            layers: reader.count("num_hidden_layers", 12, 1)?,
            heads: reader.count("num_attention_heads", 8, 1)?,
            positions: reader.count("max_position_embeddings", 77, 1)?,
            activation,
            norm_eps: reader.float("layer_norm_eps", 1e-5)?,
            eos_token_id: eos(&mut reader)?,
            projection_dim: projection.filter(|_| projected),
            unread: reader.unread().into_iter().map(str::to_owned).collect(),
        };
        if config.hidden_size % config.heads != 0 {
            let (heads, width) = (config.heads, config.hidden_size);
            return Err(reader.error(format!("num_attention_heads {heads} does not divide hidden_size {width}")));
        }
        Ok(config)
    }
}

fn eos(reader: &mut Reader<'_>) -> Result<i64> {
    let id = match reader.value("eos_token_id") {
        None => Some(49_407),
        Some(Value::Array(ids)) if ids.len() == 1 => ids.first().and_then(|id| as_count(id, 0)),
        Some(id) => as_count(id, 0),
    };
    id.ok_or_else(|| reader.unsupported("eos_token_id", "one whole number is needed"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::ClipConfig;

    fn read(class: &str, value: &Value) -> crate::Result<ClipConfig> {
        let map: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
        ClipConfig::read("text_encoder", class, &map)
    }

    #[test]
    fn an_unknown_activation_is_refused_by_name() {
        let error = read("CLIPTextModel", &json!({"hidden_act": "gelu_new"})).unwrap_err();
        let text = "text_encoder: hidden_act is \"gelu_new\" in the config, quick_gelu and gelu are supported";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn only_a_projecting_class_projects() {
        let config = json!({"projection_dim": 64});
        assert_eq!(read("CLIPTextModel", &config).unwrap().projection_dim, None);
        assert_eq!(read("CLIPTextModelWithProjection", &config).unwrap().projection_dim, Some(64));
        assert!(read("CLIPTextModelWithProjection", &json!({"projection_dim": null})).is_err());
        assert!(read("T5EncoderModel", &config).unwrap_err().to_string().contains("T5EncoderModel"));
    }

    #[test]
    fn heads_must_divide_the_width() {
        let error = read("CLIPTextModel", &json!({"hidden_size": 30, "num_attention_heads": 4})).unwrap_err();
        assert!(error.to_string().contains("4 does not divide hidden_size 30"), "{error}");
    }

    #[test]
    fn keys_that_transformers_carries_along_are_named_not_refused() {
        let config = read("CLIPTextModel", &json!({"hat": 1, "model_type": "clip_text_model"})).unwrap();
        assert_eq!(config.unread, ["hat"]);
        assert!(read("CLIPTextModel", &json!({"quantization_config": {"bits": 4}})).is_err());
    }
}
