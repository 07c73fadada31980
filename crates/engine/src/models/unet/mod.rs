//! `UNet2DConditionModel` of diffusers, for every config that [`UNetConfig`] can read.

mod block;
mod conditioning;
mod level;
mod time;

use tch::Tensor;

use self::block::{DownBlock, MidBlock, UpBlock};
pub use self::conditioning::{Conditioning, Conditions};
use self::time::TimestepEmbedding;
use crate::config::{Activation, UNetConfig};
use crate::models::transformer::TextProjection;
use crate::nn::{Conv2d, GroupNorm, Linear, Pixels, Sinusoid};
use crate::parts::Part;
use crate::pool::Network;
use crate::weights::WeightMap;
use crate::{Error, Result};

/// A UNet that predicts what a schedule asks for, from noisy latents, a timestep and a text.
#[derive(Debug)]
pub struct UNet {
    config: UNetConfig,
    conv_in: Conv2d,
    time_proj: Sinusoid,
    time_embedding: TimestepEmbedding,
    guidance: Option<Linear>,
    added: Option<(Sinusoid, TimestepEmbedding)>,
    texts: Vec<TextProjection>,
    down: Vec<DownBlock>,
    mid: Option<MidBlock>,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl UNet {
    /// Builds the UNet.
    pub fn open(weights: &WeightMap, config: UNetConfig) -> Result<Self> {
        let root = weights.root();
        let device = weights.device();
        let (first, time) = (config.first_channels, &config.time);
        let sinusoid = |dim| Sinusoid::new(dim, time.flip_sin_to_cos, time.freq_shift, device);
        let time_scope = root.at("time_embedding");
        let guidance = match time.cond_proj_dim {
            Some(dim) => Some(Linear::open_without_bias(&time_scope.at("cond_proj"), dim, first)?),
            None => None,
        };
        let added = match config.added {
            Some(added) => {
                // diffusers passes neither `act_fn` nor `timestep_post_act` on to this one.
                let (scope, silu) = (root.at("add_embedding"), Activation::Silu);
                let embedding = TimestepEmbedding::open(&scope, added.input_dim, time.embed_dim, silu, None)?;
                Some((sinusoid(added.time_dim)?, embedding))
            }
            None => None,
        };

        // What comes in from the left must be known on the way back up: each entry is a width.
        let mut widths = vec![first];
        let mut texts = Vec::new();
        let mut builder = block::Builder { config: &config, texts: &mut texts, widths: &mut widths };
        let (down, mid, up) = builder.build(&root)?;
        Ok(Self {
            conv_in: Conv2d::open(&root.at("conv_in"), config.in_channels, first, config.conv_in_kernel)?,
            time_proj: sinusoid(first)?,
            time_embedding: TimestepEmbedding::open(
                &time_scope,
                first,
                time.embed_dim,
                time.activation,
                time.post_activation,
            )?,
            guidance,
            added,
            texts,
            down,
            mid,
            up,
            norm_out: GroupNorm::open(&root.at("conv_norm_out"), config.resnet.groups, first, config.resnet.eps)?,
            conv_out: Conv2d::open(&root.at("conv_out"), first, config.out_channels, config.conv_out_kernel)?,
            config,
        })
    }

    /// The config it was built from.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Computes what depends on the text and the sizes alone, for all steps of a picture.
    pub fn condition(&self, conditions: &Conditions<'_>) -> Result<Conditioning> {
        let texts = self.texts.iter().map(|text| text.forward(conditions.text)).collect::<Result<_>>()?;
        let kind = conditions.text.f_kind()?;
        let added = match (&self.added, conditions.pooled, conditions.time_ids) {
            (None, _, _) => None,
            (Some((sinusoid, embedding)), Some(pooled), Some(ids)) => {
                let (batch, _) = pooled.size2()?;
                let times = sinusoid.forward(&ids.f_flatten(0, -1)?)?.f_reshape([batch, -1])?;
                let input = Tensor::f_cat(&[&pooled.f_totype(times.f_kind()?)?, &times], -1)?;
                Some(embedding.forward(&input.f_totype(kind)?)?)
            }
            _ => return Err(Error::internal("the unet needs the pooled text and the sizes")),
        };
        let guidance = match (&self.guidance, conditions.guidance) {
            (Some(projection), Some(embedding)) => Some(projection.forward(&embedding.f_totype(kind)?)?),
            _ => None,
        };
        Ok(Conditioning { texts, added, guidance })
    }

    /// `(batch, in_channels, h, w)` to `(batch, out_channels, h, w)`. Any size goes: a level that does not halve
    /// evenly is doubled to the size it came from.
    pub fn forward(&self, sample: &Tensor, timestep: f64, conditioning: &Conditioning) -> Result<Tensor> {
        let centred;
        let sample = if self.config.center_input_sample {
            centred = sample.f_mul_scalar(2.0)?.f_add_scalar_(-1.0)?;
            &centred
        } else {
            sample
        };
        let time = self.embed_time(sample, timestep, conditioning)?;
        let texts = conditioning.texts.as_slice();

        let mut hidden = self.conv_in.forward(sample)?;
        let mut skips = vec![hidden.shallow_clone()];
        for block in &self.down {
            hidden = block.forward(hidden, &time, texts, &mut skips)?;
        }
        if let Some(mid) = &self.mid {
            hidden = mid.forward(&hidden, &time, texts)?;
        }
        for block in &self.up {
            hidden = block.forward(hidden, &time, texts, &mut skips)?;
        }
        let hidden = self.norm_out.activated(&hidden, None, self.config.resnet.activation)?;
        self.conv_out.forward(&hidden)
    }

    /// `(batch, embed_dim)`, activated as every resnet does first.
    fn embed_time(&self, sample: &Tensor, timestep: f64, conditioning: &Conditioning) -> Result<Tensor> {
        let (batch, ..) = sample.size4()?;
        #[expect(clippy::cast_possible_truncation, reason = "the network was trained on single precision")]
        let timestep = Tensor::f_from_slice(&[timestep as f32])?.f_to(sample.device())?.f_expand([batch], false)?;
        let mut time = self.time_proj.forward(&timestep)?.f_totype(sample.f_kind()?)?;
        if let Some(guidance) = &conditioning.guidance {
            time = time.f_add(guidance)?;
        }
        let mut time = self.time_embedding.forward(&time)?;
        if let Some(added) = &conditioning.added {
            time = time.f_add_(added)?;
        }
        if let Some(activation) = self.config.time.final_activation {
            time = activation.apply(time)?;
        }
        self.config.resnet.activation.apply(time)
    }
}

impl Network for UNet {
    fn open(part: &Part, weights: &WeightMap) -> Result<Self> {
        Self::open(weights, UNetConfig::read(&part.name, &part.config)?)
    }

    fn pixels(part: &Part, name: &str) -> Pixels {
        let level = UNetConfig::read(&part.name, &part.config).ok().and_then(|config| level::of(&config, name));
        level.map_or(Pixels::Few, level::Level::pixels)
    }

    fn settings(part: &Part) -> Result<String> {
        Ok(format!("{:?}", UNetConfig::read(&part.name, &part.config)?))
    }
}
