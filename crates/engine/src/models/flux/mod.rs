//! `FluxTransformer2DModel` of diffusers: a transformer over the patches of a picture and the tokens of its text. It
//! knows how many patches lie where, but nothing of latents, schedules or pipelines.

mod conditioning;
mod double;
mod modulation;
mod single;

use tch::{Kind, Tensor};

use conditioning::Embedders;
pub use conditioning::{Conditioning, Conditions, at_once};
use double::DoubleBlock;
use modulation::{Modulations, Prepared, modulated};
use single::SingleBlock;

use crate::Result;
use crate::config::{Activation, FluxConfig};
use crate::nn::Linear;
use crate::parts::Part;
use crate::pool::Network;
use crate::weights::{Scope, WeightMap};

/// Epsilon of all its norms.
const EPS: f64 = 1e-6;

/// FLUX's transformer.
#[derive(Debug)]
pub struct FluxTransformer {
    config: FluxConfig,
    patches: Linear,
    embedders: Embedders,
    double: Vec<DoubleBlock>,
    single: Vec<SingleBlock>,
    norm_out: Linear,
    out: Linear,
}

impl FluxTransformer {
    /// Builds the transformer.
    pub fn open(weights: &WeightMap, config: FluxConfig) -> Result<Self> {
        let root = weights.root();
        let width = config.width();
        let blocks = |name: &str| -> Scope<'_> { root.at(name) };
        let (double, single) = (blocks("transformer_blocks"), blocks("single_transformer_blocks"));
        Ok(Self {
            patches: Linear::open(&root.at("x_embedder"), config.in_channels, width)?,
            embedders: Embedders::open(&root, &config)?,
            double: (0..config.double_blocks)
                .map(|i| DoubleBlock::open(&double.at(i), &config))
                .collect::<Result<_>>()?,
            single: (0..config.single_blocks)
                .map(|i| SingleBlock::open(&single.at(i), &config))
                .collect::<Result<_>>()?,
            norm_out: Linear::open(&root.at("norm_out.linear"), width, width.saturating_mul(2))?,
            out: Linear::open(&root.at("proj_out"), width, config.out_channels)?,
            config,
        })
    }

    /// The config it was built from.
    pub fn config(&self) -> &FluxConfig {
        &self.config
    }

    /// Computes what of the conditions is the same at every step.
    pub fn condition(&self, conditions: &Conditions<'_>) -> Result<Conditioning> {
        self.embedders.condition(conditions, &self.config)
    }

    /// One call: `(batch, rows·columns, in_channels)` patches, row by row, to `(batch, rows·columns, out_channels)`.
    /// `time` goes from 1 (noise) to 0: a timestep divided by 1000.
    pub fn forward(&self, patches: &Tensor, time: f64, conditioning: &Conditioning) -> Result<Tensor> {
        let modulations = self.modulations(time, conditioning)?;
        let mut picture = self.patches.forward(patches)?;
        let rope = &conditioning.rope;
        let mut text = conditioning.text.shallow_clone();
        for (block, modulation) in self.double.iter().zip(&modulations.double) {
            (text, picture) = block.forward(&text, &picture, modulation, rope)?;
        }
        let length = text.size3()?.1;
        let mut joint = Tensor::f_cat(&[text, picture], 1)?;
        for (block, modulation) in self.single.iter().zip(&modulations.single) {
            joint = block.forward(&joint, modulation, rope)?;
        }
        let picture = joint.f_narrow(1, length, joint.size3()?.1 - length)?;
        let [scale, shift] = modulation::parts(&modulations.out)?;
        self.out.forward(&modulated(&picture, &scale, &shift)?)
    }

    /// What `time` decides in every block; those to come are prepared with it.
    fn modulations(&self, time: f64, conditioning: &Conditioning) -> Result<Modulations> {
        let mut prepared = conditioning.prepared.borrow_mut();
        if let Some(known) = prepared.as_ref().map(|prepared| prepared.at(time)).transpose()?.flatten() {
            return Ok(known);
        }
        // What was prepared before is let go of first.
        *prepared = None;
        let times = conditioning.times_from(time, &self.config)?;
        // Every block begins by activating it, so this is done once.
        let embedded = Activation::Silu.apply(self.embedders.times(&times, conditioning)?)?;
        let blocks = Modulations {
            double: self.double.iter().map(|block| block.modulations(&embedded)).collect::<Result<_>>()?,
            single: self.single.iter().map(|block| block.modulations(&embedded)).collect::<Result<_>>()?,
            out: self.norm_out.forward(&embedded)?,
        };
        let found = prepared.insert(Prepared { times, blocks }).at(time)?;
        found.ok_or_else(|| crate::Error::internal("a time was not prepared"))
    }
}

impl Network for FluxTransformer {
    fn open(part: &Part, weights: &WeightMap) -> Result<Self> {
        Self::open(weights, FluxConfig::read(&part.name, &part.config)?)
    }

    /// What time, guidance and texts are led through before the blocks, and what time decides in them: that is read at each step
    /// of a picture so small that its times are not prepared together.
    fn is_read_once(name: &str) -> bool {
        const BEFORE: [&str; 2] = ["time_text_embed.", "context_embedder."];
        const MODULATIONS: [&str; 4] =
            [".norm1.linear.weight", ".norm1_context.linear.weight", ".norm.linear.weight", "norm_out.linear.weight"];
        BEFORE.iter().any(|before| name.starts_with(before)) || MODULATIONS.iter().any(|end| name.ends_with(end))
    }

    fn settings(part: &Part) -> Result<String> {
        Ok(format!("{:?}", FluxConfig::read(&part.name, &part.config)?))
    }
}

/// Half precision ends at 65504; diffusers cuts off there.
fn within_half(x: Tensor) -> Result<Tensor> {
    if x.f_kind()? != Kind::Half {
        return Ok(x);
    }
    let mut x = x;
    Ok(x.f_clamp_(-65_504.0, 65_504.0)?)
}

/// Queries, keys and values of one stream, `(batch, tokens, heads, head_dim)` each.
fn heads(parts: &[Tensor], heads: i64) -> Result<Vec<Tensor>> {
    parts
        .iter()
        .map(|x| {
            let (batch, tokens, width) = x.size3()?;
            Ok(x.f_view([batch, tokens, heads, width / heads])?)
        })
        .collect()
}

/// Attention of all tokens at all, from `(batch, tokens, heads, head_dim)` to `(batch, tokens, heads·head_dim)`.
fn attend(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let [query, key, value] = [query, key, value].map(|x| x.f_transpose(1, 2));
    let attended = crate::nn::attention::attend(&query?, &key?, &value?, crate::nn::attention::Mask::None)?;
    crate::nn::attention::merge_heads(&attended)
}

#[cfg(test)]
mod tests;
