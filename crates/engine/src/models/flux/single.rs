//! `FluxSingleTransformerBlock`: text and picture as one sequence; attention and feed-forward side by side.

use tch::Tensor;

use super::modulation::{gated, modulated, parts};
use super::{EPS, attend, heads, within_half};
use crate::config::FluxConfig;
use crate::nn::rope::RopeTable;
use crate::nn::{Linear, RmsNorm, StackedLinear, gelu_tanh_into};
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

    /// What `(times, batch, width)`, activated, decides.
    pub(super) fn modulations(&self, times: &Tensor) -> Result<Tensor> {
        self.modulation.forward(times)
    }

    /// `(batch, tokens, width)`, text first, to the same; the modulation is that of one time.
    pub(super) fn forward(&self, hidden: &Tensor, modulation: &Tensor, rope: &RopeTable) -> Result<Tensor> {
        let [shift, scale, gate] = parts(modulation)?;
        let mut projected = self.projections.forward(&modulated(hidden, &scale, &shift)?)?;
        let inner = projected.pop().ok_or_else(|| Error::internal("a single block has a feed-forward"))?;
        let [query, key, value] = <[Tensor; 3]>::try_from(heads(&projected, self.heads)?)
            .map_err(|_| Error::internal("a single block has queries, keys and values"))?;
        let attended = {
            let query = rope.apply_normed(&[(&query, &self.norm_query)])?;
            let key = rope.apply_normed(&[(&key, &self.norm_key)])?;
            attend(&query, &key, &value)?
        };
        let (batch, tokens, width) = attended.size3()?;
        let inner_width = inner.size3()?.2;
        let both = Tensor::f_empty([batch, tokens, width + inner_width], (hidden.f_kind()?, hidden.device()))?;
        both.f_narrow(-1, 0, width)?.f_copy_(&attended)?;
        gelu_tanh_into(&inner, &mut both.f_narrow(-1, width, inner_width)?)?;
        within_half(gated(hidden, &gate, self.out.forward(&both)?)?)
    }
}
