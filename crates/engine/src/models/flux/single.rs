//! `FluxSingleTransformerBlock`: text and picture as one sequence; attention and feed-forward side by side.

use tch::Tensor;

use super::modulation::{gated, modulate, parts};
use super::{EPS, attend, heads, within_half};
use crate::config::{Activation, FluxConfig};
use crate::nn::rope::RopeTable;
use crate::nn::{Linear, RmsNorm, StackedLinear, layer_norm};
use crate::weights::Scope;
use crate::{Error, Result};

/// A block of one stream.
#[derive(Debug)]
pub(super) struct SingleBlock {
    modulation: Linear,
    /// Queries, keys, values, and the inside of the feed-forward.
    projections: StackedLinear,
    norm_query: RmsNorm,
    norm_key: RmsNorm,
    out: Linear,
    heads: i64,
}

impl SingleBlock {
    pub(super) fn open(scope: &Scope<'_>, config: &FluxConfig) -> Result<Self> {
        let width = config.width();
        let inner = width.saturating_mul(4);
        let attention = scope.at("attn");
        let parts = [("attn.to_q", width), ("attn.to_k", width), ("attn.to_v", width), ("proj_mlp", inner)];
        Ok(Self {
            modulation: Linear::open(&scope.at("norm.linear"), width, width.saturating_mul(3))?,
            projections: StackedLinear::open(scope, width, &parts)?,
            norm_query: RmsNorm::open(&attention.at("norm_q"), config.head_dim, EPS)?,
            norm_key: RmsNorm::open(&attention.at("norm_k"), config.head_dim, EPS)?,
            out: Linear::open(&scope.at("proj_out"), width.saturating_add(inner), width)?,
            heads: config.heads,
        })
    }

    /// `(batch, tokens, width)`, text first, to the same; `time` is `(batch, width)`, activated.
    pub(super) fn forward(&self, hidden: &Tensor, time: &Tensor, rope: &RopeTable) -> Result<Tensor> {
        let [shift, scale, gate] = parts(&self.modulation.forward(time)?)?;
        let normed = modulate(layer_norm(hidden, EPS)?, &scale, &shift)?;
        let mut projected = self.projections.forward(&normed)?;
        let inner = projected.pop().ok_or_else(|| Error::internal("a single block has a feed-forward"))?;
        let [query, key, value] = <[Tensor; 3]>::try_from(heads(&projected, self.heads)?)
            .map_err(|_| Error::internal("a single block has queries, keys and values"))?;
        let (query, key) = (self.norm_query.forward(&query)?, self.norm_key.forward(&key)?);
        let attended = attend(&query, &key, &value, rope)?;
        let both = Tensor::f_cat(&[attended, Activation::GeluTanh.apply(inner)?], -1)?;
        within_half(gated(hidden, &gate, self.out.forward(&both)?)?)
    }
}
