//! `FluxTransformerBlock`: text and picture with weights of their own look at each other.

use tch::Tensor;

use super::modulation::{gated, modulated, parts};
use super::{EPS, attend, heads, within_half};
use crate::config::{Activation, FluxConfig};
use crate::nn::rope::RopeTable;
use crate::nn::{Linear, RmsNorm, StackedLinear};
use crate::weights::Scope;
use crate::{Error, Result};

/// A block of two streams.
#[derive(Debug)]
pub(super) struct DoubleBlock {
    text: Stream,
    picture: Stream,
    heads: i64,
}

/// What each stream of a block is called in diffusers.
struct Names {
    modulation: &'static str,
    projections: [&'static str; 3],
    norms: [&'static str; 2],
    out: &'static str,
    feed_forward: &'static str,
}

const PICTURE: Names = Names {
    modulation: "norm1.linear",
    projections: ["to_q", "to_k", "to_v"],
    norms: ["norm_q", "norm_k"],
    out: "to_out.0",
    feed_forward: "ff",
};

const TEXT: Names = Names {
    modulation: "norm1_context.linear",
    projections: ["add_q_proj", "add_k_proj", "add_v_proj"],
    norms: ["norm_added_q", "norm_added_k"],
    out: "to_add_out",
    feed_forward: "ff_context",
};

impl DoubleBlock {
    pub(super) fn open(scope: &Scope<'_>, config: &FluxConfig) -> Result<Self> {
        Ok(Self {
            text: Stream::open(scope, &TEXT, config)?,
            picture: Stream::open(scope, &PICTURE, config)?,
            heads: config.heads,
        })
    }

    /// What `(times, batch, width)`, activated, decides for text and picture.
    pub(super) fn modulations(&self, times: &Tensor) -> Result<[Tensor; 2]> {
        Ok([self.text.modulation.forward(times)?, self.picture.modulation.forward(times)?])
    }

    /// `(batch, tokens, width)` of text and picture to the same; the modulations are those of one time.
    pub(super) fn forward(
        &self,
        text: &Tensor,
        picture: &Tensor,
        [text_turn, picture_turn]: &[Tensor; 2],
        rope: &RopeTable,
    ) -> Result<(Tensor, Tensor)> {
        let (text_turn, picture_turn) = (Turn::of(text_turn)?, Turn::of(picture_turn)?);
        let from_text = self.text.project(text, &text_turn, self.heads)?;
        let from_picture = self.picture.project(picture, &picture_turn, self.heads)?;
        let attended = {
            // The text comes first.
            let ([q, k, v], [query, key, value]) = (from_text, from_picture);
            let query = rope.apply_normed(&[(&q, &self.text.norm_query), (&query, &self.picture.norm_query)])?;
            let key = rope.apply_normed(&[(&k, &self.text.norm_key), (&key, &self.picture.norm_key)])?;
            attend(&query, &key, &Tensor::f_cat(&[v, value], 1)?)?
        };
        let length = text.size3()?.1;
        let picture_length = attended.size3()?.1 - length;
        let for_text = attended.f_narrow(1, 0, length)?.f_contiguous()?;
        let for_picture = attended.f_narrow(1, length, picture_length)?.f_contiguous()?;
        let picture = self.picture.finish(picture, &for_picture, &picture_turn)?;
        Ok((within_half(self.text.finish(text, &for_text, &text_turn)?)?, picture))
    }
}

/// The shifts, scales and gates of one stream at one time.
struct Turn {
    attention: [Tensor; 3],
    feed_forward: [Tensor; 3],
}

impl Turn {
    fn of(modulation: &Tensor) -> Result<Self> {
        let [shift, scale, gate, shift_mlp, scale_mlp, gate_mlp] = parts(modulation)?;
        Ok(Self { attention: [shift, scale, gate], feed_forward: [shift_mlp, scale_mlp, gate_mlp] })
    }
}

#[derive(Debug)]
struct Stream {
    modulation: Linear,
    projections: StackedLinear,
    norm_query: RmsNorm,
    norm_key: RmsNorm,
    out: Linear,
    inner: Linear,
    outer: Linear,
}

impl Stream {
    fn open(scope: &Scope<'_>, names: &Names, config: &FluxConfig) -> Result<Self> {
        let width = config.width();
        let attention = scope.at("attn");
        let [query, key] = names.norms.map(|name| RmsNorm::open(&attention.at(name), config.head_dim, EPS));
        let feed_forward = scope.at(names.feed_forward).at("net");
        Ok(Self {
            modulation: Linear::open(&scope.at(names.modulation), width, width.saturating_mul(6))?,
            projections: StackedLinear::open(&attention, width, &names.projections.map(|name| (name, width)))?,
            norm_query: query?,
            norm_key: key?,
            out: Linear::open(&attention.at(names.out), width, width)?,
            inner: Linear::open(&feed_forward.at("0.proj"), width, width.saturating_mul(4))?,
            outer: Linear::open(&feed_forward.at(2), width.saturating_mul(4), width)?,
        })
    }

    /// Queries, keys and values.
    fn project(&self, hidden: &Tensor, turn: &Turn, count: i64) -> Result<[Tensor; 3]> {
        let [shift, scale, _] = &turn.attention;
        let projected = heads(&self.projections.forward(&modulated(hidden, scale, shift)?)?, count)?;
        projected.try_into().map_err(|_| Error::internal("a stream has queries, keys and values"))
    }

    /// From what attention found to the stream's next state.
    fn finish(&self, hidden: &Tensor, attended: &Tensor, turn: &Turn) -> Result<Tensor> {
        let [_, _, gate] = &turn.attention;
        let hidden = gated(hidden, gate, self.out.forward(attended)?)?;
        let [shift, scale, gate] = &turn.feed_forward;
        let inner = self.inner.forward(&modulated(&hidden, scale, shift)?)?;
        gated(&hidden, gate, self.outer.forward(&Activation::GeluTanh.apply(inner)?)?)
    }
}
