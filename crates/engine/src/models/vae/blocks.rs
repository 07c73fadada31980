//! What encoder and decoder have in common: resnets, and the middle that attends.

use tch::Tensor;

use crate::Result;
use crate::config::VaeConfig;
use crate::models::resnet::{Resnet, ResnetShape};
use crate::nn::attention::{Mask, attend};
use crate::nn::{GroupNorm, Linear, Pixels};
use crate::weights::Scope;

/// Epsilon of all group norms.
pub(super) const EPS: f64 = 1e-6;

/// A resnet without time.
pub(super) fn resnet(scope: &Scope<'_>, config: &VaeConfig, inputs: i64, outputs: i64) -> Result<Resnet> {
    let shape = ResnetShape {
        inputs,
        outputs,
        groups: config.norm_groups,
        eps: EPS,
        activation: config.activation,
        time: None,
        scale: 1.0,
        // They run once, and their planes would take more memory than the kernels.
        pixels: Pixels::Few,
    };
    Resnet::open(scope, &shape)
}

/// `count` resnets, one after the other.
pub(super) fn resnets(
    scope: &Scope<'_>,
    config: &VaeConfig,
    (inputs, outputs): (i64, i64),
    count: i64,
) -> Result<Vec<Resnet>> {
    let scope = scope.at("resnets");
    (0..count).map(|i| resnet(&scope.at(i), config, if i == 0 { inputs } else { outputs }, outputs)).collect()
}

/// The middle of either half.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: Resnet,
    attention: Option<Attention>,
    second: Resnet,
}

impl MidBlock {
    pub(super) fn open(scope: &Scope<'_>, config: &VaeConfig, width: i64) -> Result<Self> {
        let attention = if config.mid_attention {
            Some(Attention::open(&scope.at("attentions").at(0), config.norm_groups, width)?)
        } else {
            None
        };
        Ok(Self {
            first: resnet(&scope.at("resnets").at(0), config, width, width)?,
            attention,
            second: resnet(&scope.at("resnets").at(1), config, width, width)?,
        })
    }

    pub(super) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let mut hidden = self.first.forward_lean(hidden)?;
        if let Some(attention) = &self.attention {
            hidden = attention.forward(&hidden)?;
        }
        self.second.forward_lean(&hidden)
    }
}

/// Attention of all pixels at all pixels with a single head.
#[derive(Debug)]
struct Attention {
    norm: GroupNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
}

impl Attention {
    /// Files from before diffusers 0.13 call the projections `query`, `key`, `value` and `proj_attn`.
    fn open(scope: &Scope<'_>, groups: i64, width: i64) -> Result<Self> {
        let old = scope.has("query.weight");
        let linear = |name: &str, old_name: &str| {
            let scope = if old { scope.at(old_name) } else { scope.at(name) };
            Linear::open(&scope, width, width)
        };
        Ok(Self {
            norm: GroupNorm::open(&scope.at("group_norm"), groups, width, EPS)?,
            query: linear("to_q", "query")?,
            key: linear("to_k", "key")?,
            value: linear("to_v", "value")?,
            out: linear("to_out.0", "proj_attn")?,
        })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = input.size4()?;
        // Pixels in a row before the norm, as in diffusers: a picture whose channels lie together would be summed otherwise.
        let normed = self.norm.forward(&input.f_view([batch, channels, -1])?)?.f_transpose(1, 2)?;
        let [query, key, value] = [&self.query, &self.key, &self.value]
            .map(|projection| Ok::<_, crate::Error>(projection.forward(&normed)?.f_unsqueeze(1)?));
        let attended = attend(&query?, &key?, &value?, Mask::None)?.f_squeeze_dim(1)?;
        let out = self.out.forward(&attended)?.f_transpose(1, 2)?;
        Ok(out.f_reshape([batch, channels, height, width])?.f_add(input)?)
    }
}
