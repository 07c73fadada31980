//! `config.json` of a T5 text encoder (`T5Config` of transformers, whose defaults these are); the encoder's half of it.

use serde_json::{Map, Value, json};

use super::reader::Reader;
use crate::Result;
use crate::config::Activation;

/// The shape of a T5 encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct T5Config {
    /// Rows of the token table.
    pub vocab_size: i64,
    /// Width of a token's state.
    pub d_model: i64,
    /// Width of a head's keys; times the heads, it need not be `d_model`.
    pub d_kv: i64,
    /// Width inside the feed-forward layers.
    pub d_ff: i64,
    /// Encoder layers.
    pub layers: i64,
    /// Attention heads.
    pub heads: i64,
    /// Buckets that distances between tokens fall into, at least 4.
    pub buckets: i64,
    /// The distance from which on all fall into the last bucket.
    pub max_distance: i64,
    /// Epsilon of every norm.
    pub norm_eps: f64,
    /// Activation of the feed-forward layers.
    pub activation: Activation,
    /// Whether a second matrix multiplies what was activated (T5 1.1) or there is only one (T5).
    pub gated: bool,
    /// Keys that were not understood; transformers lets anything stand here, and so it is said, not refused.
    pub unread: Vec<String>,
}

impl T5Config {
    /// Reads the config of `component`, whose class is `class`.
    pub fn read(component: &str, class: &str, map: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::new(component, map);
        if class != "T5EncoderModel" {
            return Err(reader.error(format!("class {class} is not supported, only T5EncoderModel")));
        }
        reader.only("quantization_config", &Value::Null)?;
        reader.only("is_decoder", &json!(false))?;
        reader.only("chunk_size_feed_forward", &json!(0))?;
        // Training, the decoder, the tokenizer, and what transformers notes about itself.
        reader.no_effect(&[
            "architectures",
            "bos_token_id",
            "classifier_dropout",
            "decoder_start_token_id",
            "dropout_rate",
            "dtype",
            "eos_token_id",
            "gradient_checkpointing",
            "initializer_factor",
            "is_encoder_decoder",
            "model_type",
            "n_positions",
            "num_decoder_layers",
            "output_past",
            "pad_token_id",
            "scale_decoder_outputs",
            "task_specific_params",
            "tie_word_embeddings",
            "torch_dtype",
            "transformers_version",
            "use_cache",
        ]);
        let (activation, gated) = feed_forward(&mut reader)?;
        let buckets = reader.count("relative_attention_num_buckets", 32, 4)?;
        let max_distance = reader.count("relative_attention_max_distance", 128, 1)?;
        // Half of the buckets are for one direction, and half of those for single distances.
        if max_distance <= buckets / 4 {
            let message = format!("more than {} is needed for {buckets} buckets", buckets / 4);
            return Err(reader.unsupported("relative_attention_max_distance", message));
        }
        Ok(Self {
            vocab_size: reader.count("vocab_size", 32_128, 1)?,
            d_model: either(&mut reader, ["d_model", "hidden_size"], 512, 1)?,
            d_kv: either(&mut reader, ["d_kv", "head_dim"], 64, 1)?,
            d_ff: reader.count("d_ff", 2048, 1)?,
            layers: either(&mut reader, ["num_layers", "num_hidden_layers"], 6, 0)?,
            heads: either(&mut reader, ["num_heads", "num_attention_heads"], 8, 1)?,
            buckets,
            max_distance,
            norm_eps: reader.float("layer_norm_epsilon", 1e-6)?,
            activation,
            gated,
            unread: reader.unread().into_iter().map(str::to_owned).collect(),
        })
    }
}

/// transformers takes each of these numbers by two names.
fn either<'a>(reader: &mut Reader<'a>, [name, alias]: [&'a str; 2], default: i64, least: i64) -> Result<i64> {
    let aliased = reader.count(alias, default, least)?;
    reader.count(name, aliased, least)
}

/// What `feed_forward_proj` says; a file that also spells out what follows from it is believed, as in transformers.
fn feed_forward(reader: &mut Reader<'_>) -> Result<(Activation, bool)> {
    const KEY: &str = "feed_forward_proj";
    let words: Vec<&str> = reader.text(KEY, "relu")?.split('-').collect();
    let (gated, name) = match words.as_slice() {
        // The one name that does not mean what it says.
        ["gated", "gelu"] => (true, "gelu_new"),
        ["gated", name] => (true, *name),
        [name] => (false, *name),
        _ => return Err(reader.unsupported(KEY, "an activation is needed, or gated- before one")),
    };
    let gated = reader.flag("is_gated_act", gated)?;
    let (key, name) = match reader.optional_text("dense_act_fn")? {
        Some(spelled) => ("dense_act_fn", spelled),
        None => (KEY, name),
    };
    let activation = match name {
        "relu" => Activation::Relu,
        "gelu" => Activation::Gelu,
        "gelu_new" => Activation::GeluNew,
        "gelu_pytorch_tanh" => Activation::GeluTanh,
        "silu" | "swish" => Activation::Silu,
        "mish" => Activation::Mish,
        "quick_gelu" => Activation::QuickGelu,
        _ => return Err(reader.unsupported(key, "relu, gelu, gelu_new, silu, mish and quick_gelu are supported")),
    };
    Ok((activation, gated))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::T5Config;
    use crate::config::Activation;

    fn read(value: &Value) -> crate::Result<T5Config> {
        let map: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
        T5Config::read("text_encoder_2", "T5EncoderModel", &map)
    }

    #[test]
    fn the_file_of_flux_is_read() {
        let config = read(&json!({
            "_name_or_path": "google/t5-v1_1-xxl", "architectures": ["T5EncoderModel"], "classifier_dropout": 0.0,
            "d_ff": 10240, "d_kv": 64, "d_model": 4096, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new",
            "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0,
            "is_encoder_decoder": true, "is_gated_act": true, "layer_norm_epsilon": 1e-6, "model_type": "t5",
            "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24, "output_past": true, "pad_token_id": 0,
            "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.43.3",
            "use_cache": true, "vocab_size": 32128
        }))
        .unwrap();
        assert_eq!((config.d_model, config.layers, config.heads), (4096, 24, 64));
        assert_eq!((config.activation, config.gated), (Activation::GeluNew, true));
        assert!(config.unread.is_empty(), "{:?}", config.unread);
    }

    #[test]
    fn only_gated_gelu_is_the_tanh_one() {
        let act = |name: &str| read(&json!({"feed_forward_proj": name})).map(|c| (c.activation, c.gated));
        assert_eq!(act("gelu").unwrap(), (Activation::Gelu, false));
        assert_eq!(act("gated-silu").unwrap(), (Activation::Silu, true));
        assert_eq!(read(&json!({})).unwrap().activation, Activation::Relu);
        assert!(act("gated-tanh").unwrap_err().to_string().contains("feed_forward_proj is \"gated-tanh\""));
        assert!(act("half-gated-gelu").is_err());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (key, value) in [
            ("is_decoder", json!(true)),
            ("quantization_config", json!({"bits": 8})),
            ("relative_attention_num_buckets", json!(2)),
            ("relative_attention_max_distance", json!(8)),
        ] {
            let config = Value::Object(Map::from_iter([(key.to_owned(), value)]));
            assert!(read(&config).unwrap_err().to_string().contains(key), "{key}");
        }
        assert_eq!(read(&json!({"hat": 1})).unwrap().unread, ["hat"]);
    }

    #[test]
    fn both_names_of_a_number_are_known() {
        let config = read(&json!({"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3})).unwrap();
        assert_eq!((config.d_model, config.layers, config.heads), (24, 2, 3));
    }
}
