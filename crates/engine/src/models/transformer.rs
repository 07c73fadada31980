//! `Transformer2DModel` of diffusers with its `BasicTransformerBlock`s: lets the picture look at itself and at the text.

use tch::Tensor;

use crate::Result;
use crate::config::unet::AttentionConfig;
use crate::nn::attention::{Mask, attend, attend_in_single, merge_heads, split_heads};
use crate::nn::{Conv2d, GroupNorm, LayerNorm, Linear, StackedLinear, gated_gelu};
use crate::weights::Scope;

/// Epsilon of the group norm in front; diffusers writes it out, it is not the resnets'.
const GROUP_NORM_EPS: f64 = 1e-6;
/// Epsilon of the layer norms.
const LAYER_NORM_EPS: f64 = 1e-5;

/// The keys and values of one cross-attention for one text: `(batch, heads, tokens, dim)` each.
pub type TextKeys = (Tensor, Tensor);

/// The half of a cross-attention that looks at the text alone. It is computed once for a prompt, not at every
/// step, and so a model keeps all of these together.
#[derive(Debug)]
pub struct TextProjection {
    key: Linear,
    value: Linear,
    heads: i64,
}

impl TextProjection {
    /// `(batch, tokens, text_dim)` to keys and values.
    pub fn forward(&self, text: &Tensor) -> Result<TextKeys> {
        let key = split_heads(&self.key.forward(text)?, self.heads)?;
        Ok((key, split_heads(&self.value.forward(text)?, self.heads)?))
    }
}

/// A transformer over the pixels of a picture.
#[derive(Debug)]
pub struct Transformer2d {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<TransformerBlock>,
    proj_out: Projection,
}

impl Transformer2d {
    /// Builds the transformer of the scope. Its cross-attentions' halves are added to `texts`.
    pub fn open(
        scope: &Scope<'_>,
        channels: i64,
        groups: i64,
        depth: i64,
        config: &AttentionConfig,
        texts: &mut Vec<TextProjection>,
    ) -> Result<Self> {
        let blocks = scope.at("transformer_blocks");
        Ok(Self {
            norm: GroupNorm::open(&scope.at("norm"), groups, channels, GROUP_NORM_EPS)?,
            proj_in: Projection::open(&scope.at("proj_in"), channels, config.linear_projection)?,
            blocks: (0..depth)
                .map(|i| TransformerBlock::open(&blocks.at(i), channels, config, texts))
                .collect::<Result<_>>()?,
            proj_out: Projection::open(&scope.at("proj_out"), channels, config.linear_projection)?,
        })
    }

    /// `(batch, channels, h, w)` to the same; `texts` are the keys and values of all the model's projections.
    pub fn forward(&self, input: &Tensor, texts: &[TextKeys]) -> Result<Tensor> {
        let (batch, channels, height, width) = input.size4()?;
        let normed = self.norm.forward(input)?;
        let flat = |x: &Tensor| x.f_flatten(2, 3)?.f_transpose(1, 2);
        let square = |x: &Tensor| x.f_view([batch, height, width, channels])?.f_permute([0, 3, 1, 2])?.f_contiguous();
        let mut hidden = match &self.proj_in {
            Projection::Linear(linear) => linear.forward(&flat(&normed)?)?,
            Projection::Conv(conv) => flat(&conv.forward(&normed)?)?,
        };
        for block in &self.blocks {
            hidden = block.forward(&hidden, texts)?;
        }
        let output = match &self.proj_out {
            Projection::Linear(linear) => square(&linear.forward(&hidden)?)?,
            Projection::Conv(conv) => conv.forward(&square(&hidden)?)?,
        };
        Ok(output.f_add(input)?)
    }
}

/// What stands before and after the blocks.
#[derive(Debug)]
enum Projection {
    Linear(Linear),
    Conv(Conv2d),
}

impl Projection {
    fn open(scope: &Scope<'_>, channels: i64, linear: bool) -> Result<Self> {
        if linear {
            Linear::open(scope, channels, channels).map(Self::Linear)
        } else {
            Conv2d::open(scope, channels, channels, 1).map(Self::Conv)
        }
    }
}

#[derive(Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    feed_forward: FeedForward,
}

impl TransformerBlock {
    fn open(scope: &Scope<'_>, width: i64, config: &AttentionConfig, texts: &mut Vec<TextProjection>) -> Result<Self> {
        let norm = |name| LayerNorm::open(&scope.at(name), width, LAYER_NORM_EPS);
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::open(&scope.at("attn1"), width, config, config.only_cross.then_some(&mut *texts))?,
            norm2: norm("norm2")?,
            attn2: Attention::open(&scope.at("attn2"), width, config, Some(texts))?,
            norm3: norm("norm3")?,
            feed_forward: FeedForward::open(&scope.at("ff").at("net"), width)?,
        })
    }

    fn forward(&self, hidden: &Tensor, texts: &[TextKeys]) -> Result<Tensor> {
        let hidden = self.attn1.forward(&self.norm1.forward(hidden)?, texts)?.f_add_(hidden)?;
        let hidden = self.attn2.forward(&self.norm2.forward(&hidden)?, texts)?.f_add_(&hidden)?;
        Ok(self.feed_forward.forward(&self.norm3.forward(&hidden)?)?.f_add_(&hidden)?)
    }
}

#[derive(Debug)]
struct Attention {
    source: Source,
    out: Linear,
    heads: i64,
    upcast: bool,
}

/// What an attention looks at.
#[derive(Debug)]
enum Source {
    /// The picture itself: queries, keys and values are made of it.
    Picture(StackedLinear),
    /// The text, through the model's projection of this number; queries are made of the picture.
    Text { query: Linear, number: usize },
}

impl Attention {
    /// An attention at the text when `texts` is there, else at the picture.
    fn open(
        scope: &Scope<'_>,
        width: i64,
        config: &AttentionConfig,
        texts: Option<&mut Vec<TextProjection>>,
    ) -> Result<Self> {
        let source = match texts {
            None => {
                let parts = [("to_q", width), ("to_k", width), ("to_v", width)];
                Source::Picture(StackedLinear::open_without_bias(scope, width, &parts)?)
            }
            Some(texts) => {
                let linear = |name, inputs| Linear::open_without_bias(&scope.at(name), inputs, width);
                let (key, value) = (linear("to_k", config.text_dim)?, linear("to_v", config.text_dim)?);
                texts.push(TextProjection { key, value, heads: config.heads });
                Source::Text { query: linear("to_q", width)?, number: texts.len() - 1 }
            }
        };
        Ok(Self {
            source,
            out: Linear::open(&scope.at("to_out").at(0), width, width)?,
            heads: config.heads,
            upcast: config.upcast,
        })
    }

    fn forward(&self, hidden: &Tensor, texts: &[TextKeys]) -> Result<Tensor> {
        let attended = match &self.source {
            Source::Picture(projections) => match projections.forward(hidden)?.as_slice() {
                [query, key, value] => {
                    let [query, key, value] = [query, key, value].map(|x| split_heads(x, self.heads));
                    self.attend(&query?, &key?, &value?)?
                }
                _ => return Err(crate::Error::internal("an attention has queries, keys and values")),
            },
            Source::Text { query, number } => match texts.get(*number) {
                Some((key, value)) => self.attend(&split_heads(&query.forward(hidden)?, self.heads)?, key, value)?,
                None => return Err(crate::Error::internal("the text was prepared for another model")),
            },
        };
        self.out.forward(&merge_heads(&attended)?)
    }

    fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
        if self.upcast { attend_in_single(query, key, value) } else { attend(query, key, value, Mask::None) }
    }
}

/// A gated feed-forward layer (GEGLU, Shazeer 2020) with the exact GELU.
#[derive(Debug)]
struct FeedForward {
    proj: Linear,
    out: Linear,
}

impl FeedForward {
    fn open(scope: &Scope<'_>, width: i64) -> Result<Self> {
        let inner = width * 4;
        let proj = Linear::open(&scope.at(0).at("proj"), width, inner * 2)?;
        Ok(Self { proj, out: Linear::open(&scope.at(2), inner, width)? })
    }

    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let both = self.proj.forward(hidden)?;
        self.out.forward(&gated_gelu(&both)?)
    }
}
