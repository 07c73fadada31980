//! The encoder of T5 and T5 1.1 (`T5EncoderModel` of transformers).
//!
//! Its states grow beyond what half precision can hold, so it is computed in single precision or in bfloat16, never in
//! fp16; who opens it decides.

use tch::{Kind, Tensor};

use crate::config::{Activation, T5Config};
use crate::nn::attention::{attend_with_bias, merge_heads, split_heads};
use crate::nn::{Embedding, Linear, RmsNorm};
use crate::parts::Part;
use crate::pool::Network;
use crate::weights::{Scope, WeightMap};
use crate::{Error, Result};

/// A T5 text encoder.
#[derive(Debug)]
pub struct T5Encoder {
    name: String,
    config: T5Config,
    tokens: Embedding,
    /// What each head adds for a distance: `(buckets, heads)`. The first layer's, which all share.
    distances: Option<Embedding>,
    blocks: Vec<Block>,
    norm: RmsNorm,
}

impl T5Encoder {
    /// Builds the encoder. The token table is `shared`, or `encoder.embed_tokens`, which is the same.
    pub fn open(weights: &WeightMap, config: T5Config) -> Result<Self> {
        let root = weights.root();
        if root.kind() == Kind::Half {
            return Err(Error::internal(format!("{} would overflow in fp16", weights.component())));
        }
        let encoder = root.at("encoder");
        let shared = root.at("shared");
        let table = if shared.has("weight") { shared } else { encoder.at("embed_tokens") };
        let blocks = encoder.at("block");
        let distances = if config.layers > 0 {
            let scope = blocks.at("0.layer.0.SelfAttention.relative_attention_bias");
            Some(Embedding::open(&scope, config.buckets, config.heads)?)
        } else {
            None
        };
        Ok(Self {
            name: weights.component().to_owned(),
            tokens: Embedding::open(&table, config.vocab_size, config.d_model)?,
            distances,
            blocks: (0..config.layers)
                .map(|i| Block::open(&blocks.at(i).at("layer"), &config))
                .collect::<Result<_>>()?,
            norm: RmsNorm::open(&encoder.at("final_layer_norm"), config.d_model, config.norm_eps)?,
            config,
        })
    }

    /// The config it was built from.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// `(batch, tokens)` ids to `(batch, tokens, d_model)`. Padding is looked at like any token: FLUX masks nothing.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.check(ids)?;
        let mut hidden = self.tokens.forward(ids)?;
        if let Some(distances) = &self.distances {
            let bias = self.bias(distances, ids)?;
            for block in &self.blocks {
                hidden = block.forward(&hidden, &bias)?;
            }
        }
        self.norm.forward(&hidden)
    }

    /// An id outside the table is memory outside the table on a GPU, so it is found here.
    fn check(&self, ids: &Tensor) -> Result<()> {
        let vocabulary = self.config.vocab_size;
        for extreme in [ids.f_max()?.f_int64_value(&[])?, ids.f_min()?.f_int64_value(&[])?] {
            if !(0..vocabulary).contains(&extreme) {
                let name = &self.name;
                return Err(Error::broken(format!(
                    "{name}: the tokenizer gives id {extreme}, but the encoder's vocabulary has {vocabulary}"
                )));
            }
        }
        Ok(())
    }

    /// `(1, heads, tokens, tokens)`: what is added to the score of each token for each other.
    fn bias(&self, distances: &Embedding, ids: &Tensor) -> Result<Tensor> {
        let (_, length) = ids.size2()?;
        let places = Tensor::f_arange(length, (Kind::Int64, ids.device()))?;
        let distance = places.f_unsqueeze(0)?.f_sub(&places.f_unsqueeze(1)?)?;
        let buckets = bucket(&distance, self.config.buckets, self.config.max_distance)?;
        Ok(distances.forward(&buckets)?.f_permute([2, 0, 1])?.f_unsqueeze(0)?.f_contiguous()?)
    }
}

impl Network for T5Encoder {
    fn open(part: &Part, weights: &WeightMap) -> Result<Self> {
        Self::open(weights, T5Config::read(&part.name, &part.class, &part.config)?)
    }

    fn is_read_once(_name: &str) -> bool {
        true
    }

    fn settings(part: &Part) -> Result<String> {
        let config = T5Config::read(&part.name, &part.class, &part.config)?;
        Ok(format!("{:?}", T5Config { unread: Vec::new(), ..config }))
    }

    fn role<'a>(part: &Part, name: &'a str) -> Option<&'a str> {
        match name {
            // The table goes by two names, and is written under either or both.
            "encoder.embed_tokens.weight" => {
                let twice = part.tensors.iter().any(|tensor| tensor.name == "shared.weight");
                (!twice).then_some("shared.weight")
            }
            _ if name.starts_with("decoder.") || name.starts_with("lm_head.") => None,
            _ => Some(name),
        }
    }

    /// The second name of the token table, and the decoder.
    fn is_known_spare(name: &str) -> bool {
        name == "encoder.embed_tokens.weight" || name.starts_with("decoder.") || name.starts_with("lm_head.")
    }
}

/// The bucket of each distance (key's place less query's). One half of the buckets is for what comes after; in each
/// half, the nearer half of the buckets holds one distance each and the rest grow with the logarithm.
fn bucket(distance: &Tensor, buckets: i64, max_distance: i64) -> Result<Tensor> {
    let half = buckets / 2;
    let exact = half / 2;
    let after = distance.f_gt(0)?.f_totype(Kind::Int64)?.f_mul_scalar(half)?;
    let distance = distance.f_abs()?;
    // In single precision and in this order, so that distances at the border of two buckets fall as in transformers.
    #[expect(clippy::cast_precision_loss, reason = "counts of a config")]
    let (exact_float, reach, rest) = (exact as f64, (max_distance as f64 / exact as f64).ln(), (half - exact) as f64);
    let grown = distance.f_totype(Kind::Float)?.f_div_scalar(exact_float)?.f_log()?;
    let grown = grown.f_div_scalar(reach)?.f_mul_scalar(rest)?.f_totype(Kind::Int64)?.f_add_scalar(exact)?;
    let far = grown.f_clamp_max(half - 1)?;
    Ok(distance.f_where_self(&distance.f_lt(exact)?, &far)?.f_add(&after)?)
}

#[derive(Debug)]
struct Block {
    norm1: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm2: RmsNorm,
    inner: Linear,
    gate: Option<Linear>,
    outer: Linear,
    heads: i64,
    activation: Activation,
}

impl Block {
    fn open(scope: &Scope<'_>, config: &T5Config) -> Result<Self> {
        let (width, inner) = (config.d_model, config.heads * config.d_kv);
        let attention = scope.at("0.SelfAttention");
        let dense = scope.at("1.DenseReluDense");
        let [first, gate] = if config.gated { ["wi_0", "wi_1"] } else { ["wi", ""] };
        let gate =
            if config.gated { Some(Linear::open_without_bias(&dense.at(gate), width, config.d_ff)?) } else { None };
        Ok(Self {
            norm1: RmsNorm::open(&scope.at("0.layer_norm"), width, config.norm_eps)?,
            query: Linear::open_without_bias(&attention.at("q"), width, inner)?,
            key: Linear::open_without_bias(&attention.at("k"), width, inner)?,
            value: Linear::open_without_bias(&attention.at("v"), width, inner)?,
            out: Linear::open_without_bias(&attention.at("o"), inner, width)?,
            norm2: RmsNorm::open(&scope.at("1.layer_norm"), width, config.norm_eps)?,
            inner: Linear::open_without_bias(&dense.at(first), width, config.d_ff)?,
            gate,
            outer: Linear::open_without_bias(&dense.at("wo"), config.d_ff, width)?,
            heads: config.heads,
            activation: config.activation,
        })
    }

    fn forward(&self, hidden: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(hidden)?;
        let [query, key, value] = [&self.query, &self.key, &self.value]
            .map(|projection| projection.forward(&normed).and_then(|x| split_heads(&x, self.heads)));
        // The scores are not divided by the root of the width: T5's first weights were made smaller instead.
        let attended = merge_heads(&attend_with_bias(&query?, &key?, &value?, bias, 1.0)?)?;
        let hidden = self.out.forward(&attended)?.f_add_(hidden)?;
        let normed = self.norm2.forward(&hidden)?;
        let mut inner = self.activation.apply(self.inner.forward(&normed)?)?;
        if let Some(gate) = &self.gate {
            inner = inner.f_mul_(&gate.forward(&normed)?)?;
        }
        Ok(self.outer.forward(&inner)?.f_add_(&hidden)?)
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::bucket;

    /// From transformers 5.23: `T5Attention._relative_position_bucket`, 32 buckets and 128 places.
    #[test]
    fn distances_fall_as_in_transformers() {
        let distances = [-500_i64, -128, -64, -16, -8, -7, -1, 0, 1, 7, 8, 11, 12, 16, 63, 64, 90, 91, 127, 500];
        let buckets = bucket(&Tensor::from_slice(&distances), 32, 128).unwrap();
        let expected = [15, 15, 14, 10, 8, 7, 1, 0, 17, 23, 24, 24, 25, 26, 29, 30, 30, 31, 31, 31];
        assert_eq!(Vec::<i64>::try_from(buckets).unwrap(), expected);
    }
}
