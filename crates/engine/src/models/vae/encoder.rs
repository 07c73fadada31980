//! The encoder of `AutoencoderKL` of diffusers: pictures to where their latents lie.

use tch::Tensor;

use super::blocks::{EPS, MidBlock, resnets};
use super::tiling::{Tiles, Tiling, each_picture};
use super::{Between, ENCODER, Posterior};
use crate::config::{Activation, VaeConfig};
use crate::models::resnet::Resnet;
use crate::nn::{Conv2d, GroupNorm};
use crate::parts::Part;
use crate::pool::Network;
use crate::weights::{Scope, WeightMap};
use crate::{Error, Result};

/// The encoder of an autoencoder.
#[derive(Debug)]
pub struct VaeEncoder {
    config: VaeConfig,
    conv_in: Conv2d,
    down: Vec<DownBlock>,
    mid: MidBlock,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    quant_conv: Option<Conv2d>,
}

impl VaeEncoder {
    /// Builds the encoder; the decoder's weights stay in their file.
    pub fn open(weights: &WeightMap, config: VaeConfig) -> Result<Self> {
        let root = weights.root();
        let scope = root.at("encoder");
        if !scope.has("conv_in.weight") {
            let message =
                format!("{}: the weights hold no encoder, so no picture can be begun from", weights.component());
            return Err(Error::broken(message).with_hint("use a VAE file that is whole"));
        }
        // Mean and logarithm of the variance.
        let moments = config.latent_channels.saturating_mul(2);
        let widths: Vec<i64> = config.block_channels.iter().rev().copied().collect();
        let mut width = widths.first().copied().unwrap_or_default();
        let conv_in = Conv2d::open(&scope.at("conv_in"), config.in_channels, width, 3)?;
        let mut down = Vec::new();
        for (i, &channels) in widths.iter().enumerate() {
            let resamples = i + 1 < widths.len();
            down.push(DownBlock::open(&scope.at("down_blocks").at(i), &config, width, channels, resamples)?);
            width = channels;
        }
        Ok(Self {
            conv_in,
            down,
            mid: MidBlock::open(&scope.at("mid_block"), &config, width)?,
            norm_out: GroupNorm::open(&scope.at("conv_norm_out"), config.norm_groups, width, EPS)?,
            conv_out: Conv2d::open(&scope.at("conv_out"), width, moments, 3)?,
            quant_conv: if config.quant_conv {
                Some(Conv2d::open(&root.at("quant_conv"), moments, moments, 1)?)
            } else {
                None
            },
            config,
        })
    }

    /// `(batch, in_channels, h, w)` around -1…1 to where their latents lie: `(batch, latent_channels, h/f, w/f)`. Slices,
    /// tiles and `between` are as for [`super::VaeDecoder::decode`].
    pub fn encode(&self, pictures: &Tensor, tiling: Option<Tiling>, between: &mut Between<'_>) -> Result<Posterior> {
        let moments = each_picture(pictures, |picture| {
            match tiling.and_then(|tiling| Tiles::of_picture(tiling, &self.config, picture)) {
                None => {
                    between()?;
                    self.encode_whole(picture)
                }
                Some(tiles) => tiles.map(picture, between, |tile| self.encode_whole(tile)),
            }
        })?;
        Posterior::of(&moments)
    }

    fn encode_whole(&self, picture: &Tensor) -> Result<Tensor> {
        let mut hidden = self.conv_in.forward(picture)?;
        for block in &self.down {
            hidden = block.forward(hidden)?;
        }
        hidden = self.mid.forward(&hidden)?;
        let moments = self.conv_out.forward(&Activation::Silu.apply(self.norm_out.forward(&hidden)?)?)?;
        match &self.quant_conv {
            Some(conv) => conv.forward(&moments),
            None => Ok(moments),
        }
    }
}

impl Network for VaeEncoder {
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
        !ENCODER.iter().any(|prefix| name.starts_with(prefix))
    }
}

#[derive(Debug)]
struct DownBlock {
    resnets: Vec<Resnet>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    fn open(scope: &Scope<'_>, config: &VaeConfig, inputs: i64, channels: i64, resamples: bool) -> Result<Self> {
        let resnets = resnets(scope, config, (inputs, channels), config.resnets)?;
        let downsampler = if resamples {
            Some(Conv2d::open_strided(&scope.at("downsamplers").at(0).at("conv"), channels, channels, 3, 2, 0)?)
        } else {
            None
        };
        Ok(Self { resnets, downsampler })
    }

    fn forward(&self, mut hidden: Tensor) -> Result<Tensor> {
        for resnet in &self.resnets {
            hidden = resnet.forward_lean(&hidden)?;
        }
        match &self.downsampler {
            // One column and one row of zeros at the far ends alone, which no padding of a convolution is.
            Some(conv) => conv.forward(&hidden.f_constant_pad_nd([0, 1, 0, 1])?),
            None => Ok(hidden),
        }
    }
}
