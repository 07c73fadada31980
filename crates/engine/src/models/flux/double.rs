//! `FluxTransformerBlock`: text and picture with weights of their own look at each other.

use tch::Tensor;

use super::modulation::{gated, modulate, parts};
use super::{EPS, attend, heads, within_half};
use crate::config::{Activation, FluxConfig};
use crate::nn::rope::RopeTable;
use crate::nn::{Linear, RmsNorm, StackedLinear, layer_norm};
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

    /// `(batch, tokens, width)` of text and picture to the same; `time` is `(batch, width)`, activated.
    pub(super) fn forward(
        &self,
        text: &Tensor,
        picture: &Tensor,
        time: &Tensor,
        rope: &RopeTable,
    ) -> Result<(Tensor, Tensor)> {
        let (text_turn, picture_turn) = (self.text.turn(time)?, self.picture.turn(time)?);
        let from_text = self.text.project(text, &text_turn, self.heads)?;
        let from_picture = self.picture.project(picture, &picture_turn, self.heads)?;
        // The text comes first.
        let mut joint = from_text.iter().zip(&from_picture).map(|(text, picture)| Tensor::f_cat(&[text, picture], 1));
        let (Some(query), Some(key), Some(value)) = (joint.next(), joint.next(), joint.next()) else {
            return Err(Error::internal("a block has queries, keys and values"));
        };
        let attended = attend(&query?, &key?, &value?, rope)?;
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

    fn turn(&self, time: &Tensor) -> Result<Turn> {
        let [shift, scale, gate, shift_mlp, scale_mlp, gate_mlp] = parts(&self.modulation.forward(time)?)?;
        Ok(Turn { attention: [shift, scale, gate], feed_forward: [shift_mlp, scale_mlp, gate_mlp] })
    }

    /// Queries, keys and values, the first two normed.
    fn project(&self, hidden: &Tensor, turn: &Turn, count: i64) -> Result<[Tensor; 3]> {
        let [shift, scale, _] = &turn.attention;
        let normed = modulate(layer_norm(hidden, EPS)?, scale, shift)?;
        let projected = heads(&self.projections.forward(&normed)?, count)?;
        let [query, key, value] =
            <[Tensor; 3]>::try_from(projected).map_err(|_| Error::internal("a stream has queries, keys and values"))?;
        Ok([self.norm_query.forward(&query)?, self.norm_key.forward(&key)?, value])
    }

    /// From what attention found to the stream's next state.
    fn finish(&self, hidden: &Tensor, attended: &Tensor, turn: &Turn) -> Result<Tensor> {
        let [_, _, gate] = &turn.attention;
        let hidden = gated(hidden, gate, self.out.forward(attended)?)?;
        let [shift, scale, gate] = &turn.feed_forward;
        let normed = modulate(layer_norm(&hidden, EPS)?, scale, shift)?;
        let inner = Activation::GeluTanh.apply(self.inner.forward(&normed)?)?;
        gated(&hidden, gate, self.outer.forward(&inner)?)
    }
}
