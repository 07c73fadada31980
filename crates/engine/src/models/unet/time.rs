//! `TimestepEmbedding` of diffusers: two matrices with an activation between them.

use tch::Tensor;

use crate::Result;
use crate::config::Activation;
use crate::nn::Linear;
use crate::weights::Scope;

/// Widens a sinusoid into an embedding.
#[derive(Debug)]
pub(super) struct TimestepEmbedding {
    linear1: Linear,
    linear2: Linear,
    activation: Activation,
    post_activation: Option<Activation>,
}

impl TimestepEmbedding {
    pub fn open(
        scope: &Scope<'_>,
        inputs: i64,
        width: i64,
        activation: Activation,
        post_activation: Option<Activation>,
    ) -> Result<Self> {
        let linear1 = Linear::open(&scope.at("linear_1"), inputs, width)?;
        let linear2 = Linear::open(&scope.at("linear_2"), width, width)?;
        Ok(Self { linear1, linear2, activation, post_activation })
    }

    /// `(batch, inputs)` to `(batch, width)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.linear2.forward(&self.activation.apply(self.linear1.forward(x)?)?)?;
        match self.post_activation {
            Some(activation) => activation.apply(hidden),
            None => Ok(hidden),
        }
    }
}
