//! The decoder of `AutoencoderKL` of diffusers: latents to pictures.

use tch::Tensor;

use super::blocks::{EPS, MidBlock, resnets};
use super::tiling::{Tiles, Tiling, each_picture};
use super::{Between, ENCODER};
use crate::Result;
use crate::config::{Activation, VaeConfig};
use crate::models::resnet::Resnet;
use crate::models::strips::{Normed, in_strips};
use crate::nn::{Conv2d, GroupNorm, upsample_nearest};
use crate::parts::Part;
use crate::pool::Network;
use crate::weights::{Scope, WeightMap};

/// The decoder of an autoencoder.
#[derive(Debug)]
pub struct VaeDecoder {
    config: VaeConfig,
    post_quant_conv: Option<Conv2d>,
    conv_in: Conv2d,
    mid: MidBlock,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl VaeDecoder {
    /// Builds the decoder; the encoder's weights stay in their file.
    pub fn open(weights: &WeightMap, config: VaeConfig) -> Result<Self> {
        let root = weights.root();
        let scope = root.at("decoder");
        let latents = config.latent_channels;
        let innermost = config.block_channels.first().copied().unwrap_or_default();
        let mut width = innermost;
        let mut up = Vec::new();
        for (i, &channels) in config.block_channels.iter().enumerate() {
            let resamples = i + 1 < config.block_channels.len();
            up.push(UpBlock::open(&scope.at("up_blocks").at(i), &config, width, channels, resamples)?);
            width = channels;
        }
        Ok(Self {
            post_quant_conv: if config.post_quant_conv {
                Some(Conv2d::open(&root.at("post_quant_conv"), latents, latents, 1)?)
            } else {
                None
            },
            conv_in: Conv2d::open(&scope.at("conv_in"), latents, innermost, 3)?,
            mid: MidBlock::open(&scope.at("mid_block"), &config, innermost)?,
            up,
            norm_out: GroupNorm::open(&scope.at("conv_norm_out"), config.norm_groups, width, EPS)?,
            conv_out: Conv2d::open(&scope.at("conv_out"), width, config.out_channels, 3)?,
            config,
        })
    }

    /// `(batch, latent_channels, h, w)`, unscaled, to `(batch, out_channels, h·f, w·f)` around -1…1. One picture of the
    /// batch after the other, as their working memory is the largest of a pipeline; each in tiles where it is larger than
    /// one. `between` is asked before each.
    pub fn decode(&self, latents: &Tensor, tiling: Option<Tiling>, between: &mut Between<'_>) -> Result<Tensor> {
        each_picture(latents, |latents| {
            match tiling.and_then(|tiling| Tiles::of_latents(tiling, &self.config, latents)) {
                None => {
                    between()?;
                    self.decode_whole(latents)
                }
                Some(tiles) => tiles.map(latents, between, |tile| self.decode_whole(tile)),
            }
        })
    }

    fn decode_whole(&self, latents: &Tensor) -> Result<Tensor> {
        let mut hidden = match &self.post_quant_conv {
            Some(conv) => self.conv_in.forward(&conv.forward(latents)?)?,
            None => self.conv_in.forward(latents)?,
        };
        hidden = self.mid.forward(&hidden)?;
        for block in &self.up {
            hidden = block.forward(hidden)?;
        }
        // `act_fn` is for the resnets; this one is always silu.
        let conv = self.conv_out.ready()?;
        Normed { norm: &self.norm_out, activation: Activation::Silu }.in_strips(&hidden, |x| conv.forward(x))
    }
}

impl Network for VaeDecoder {
    fn open(part: &Part, weights: &WeightMap) -> Result<Self> {
        Self::open(weights, VaeConfig::read(&part.name, &part.config)?)
    }

    fn settings(part: &Part) -> Result<String> {
        super::settings(part)
    }

    fn is_read_once(_name: &str) -> bool {
        true
    }

    fn role<'a>(_: &Part, name: &'a str) -> Option<&'a str> {
        (!Self::is_known_spare(name)).then_some(name)
    }

    /// The half that is not built.
    fn is_known_spare(name: &str) -> bool {
        ENCODER.iter().any(|prefix| name.starts_with(prefix))
    }
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    fn open(scope: &Scope<'_>, config: &VaeConfig, inputs: i64, channels: i64, resamples: bool) -> Result<Self> {
        // One more than the encoder has.
        let resnets = resnets(scope, config, (inputs, channels), config.resnets + 1)?;
        let upsampler = if resamples {
            Some(Conv2d::open(&scope.at("upsamplers").at(0).at("conv"), channels, channels, 3)?)
        } else {
            None
        };
        Ok(Self { resnets, upsampler })
    }

    fn forward(&self, mut hidden: Tensor) -> Result<Tensor> {
        for resnet in &self.resnets {
            hidden = resnet.forward_lean(&hidden)?;
        }
        match &self.upsampler {
            Some(conv) => {
                let conv = conv.ready()?;
                in_strips(&hidden, 2, |x| conv.forward(&upsample_nearest(x, None)?))
            }
            None => Ok(hidden),
        }
    }
}
