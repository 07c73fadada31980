//! The blocks of a UNet: down, middle and up (`unet_2d_blocks.py` in diffusers).

use tch::Tensor;

use super::level::{self, Level};
use crate::config::UNetConfig;
use crate::config::unet::{AttentionConfig, BlockConfig, MidConfig};
use crate::models::resnet::{Resnet, ResnetShape, TimeShape};
use crate::models::transformer::{TextKeys, TextProjection, Transformer2d};
use crate::nn::{Conv2d, upsample_nearest};
use crate::weights::Scope;
use crate::{Error, Result};

/// A resnet and the transformer after it, where the block attends.
#[derive(Debug)]
struct Layer {
    resnet: Resnet,
    transformer: Option<Transformer2d>,
}

impl Layer {
    fn forward(&self, hidden: &Tensor, time: &Tensor, texts: &[TextKeys]) -> Result<Tensor> {
        let hidden = self.resnet.forward(hidden, Some(time))?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&hidden, texts),
            None => Ok(hidden),
        }
    }
}

/// `DownBlock2D` and `CrossAttnDownBlock2D`.
#[derive(Debug)]
pub(super) struct DownBlock {
    layers: Vec<Layer>,
    downsampler: Option<Downsampler>,
}

impl DownBlock {
    /// Leaves every output on `skips` for the way up.
    pub fn forward(
        &self,
        mut hidden: Tensor,
        time: &Tensor,
        texts: &[TextKeys],
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        for layer in &self.layers {
            hidden = layer.forward(&hidden, time, texts)?;
            skips.push(hidden.shallow_clone());
        }
        if let Some(downsampler) = &self.downsampler {
            hidden = downsampler.forward(&hidden)?;
            skips.push(hidden.shallow_clone());
        }
        Ok(hidden)
    }
}

/// A convolution that halves the picture.
#[derive(Debug)]
struct Downsampler {
    conv: Conv2d,
    pads_end: bool,
}

impl Downsampler {
    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        if self.pads_end {
            return self.conv.forward(&hidden.f_constant_pad_nd([0, 1, 0, 1])?);
        }
        self.conv.forward(hidden)
    }
}

/// `UNetMidBlock2D` (the first resnet alone) and `UNetMidBlock2DCrossAttn`.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: Layer,
    second: Option<Resnet>,
}

impl MidBlock {
    pub fn forward(&self, hidden: &Tensor, time: &Tensor, texts: &[TextKeys]) -> Result<Tensor> {
        let hidden = self.first.forward(hidden, time, texts)?;
        match &self.second {
            Some(resnet) => resnet.forward(&hidden, Some(time)),
            None => Ok(hidden),
        }
    }
}

/// `UpBlock2D` and `CrossAttnUpBlock2D`.
#[derive(Debug)]
pub(super) struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// Takes what the way down left on `skips`.
    pub fn forward(
        &self,
        mut hidden: Tensor,
        time: &Tensor,
        texts: &[TextKeys],
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        for layer in &self.layers {
            let skip = skips.pop().ok_or_else(nothing_left)?;
            hidden = layer.forward(&Tensor::f_cat(&[hidden, skip], 1)?, time, texts)?;
        }
        if let Some(conv) = &self.upsampler {
            // The next skip has the size that this one was halved from.
            let (_, _, height, width) = skips.last().ok_or_else(nothing_left)?.size4()?;
            let doubled = hidden.size4().is_ok_and(|(_, _, h, w)| (h * 2, w * 2) == (height, width));
            let size = if doubled { None } else { Some((height, width)) };
            hidden = conv.forward(&upsample_nearest(&hidden, size)?)?;
        }
        Ok(hidden)
    }
}

fn nothing_left() -> Error {
    Error::broken("unet: the way up needs more than the way down leaves: layers_per_block does not fit")
}

/// Builds all blocks in the order that they run, following the width of what is carried.
pub(super) struct Builder<'a> {
    pub config: &'a UNetConfig,
    /// Takes the cross-attentions' halves that look at the text.
    pub texts: &'a mut Vec<TextProjection>,
    /// Widths of what has been left for the way up.
    pub widths: &'a mut Vec<i64>,
}

impl Builder<'_> {
    pub fn build(&mut self, root: &Scope<'_>) -> Result<(Vec<DownBlock>, Option<MidBlock>, Vec<UpBlock>)> {
        let config = self.config;
        let mut width = config.first_channels;
        let mut down = Vec::with_capacity(config.down.len());
        for (i, block) in config.down.iter().enumerate() {
            down.push(self.down(&root.at("down_blocks").at(i), width, block, level::down(config, i))?);
            width = block.channels;
        }
        let mid = match &config.mid {
            Some(mid) => Some(self.mid(&root.at("mid_block"), mid)?),
            None => None,
        };
        let mut up = Vec::with_capacity(config.up.len());
        for (i, block) in config.up.iter().enumerate() {
            up.push(self.up(&root.at("up_blocks").at(i), width, block, level::up(config, i))?);
            width = block.channels;
        }
        Ok((down, mid, up))
    }

    fn down(&mut self, scope: &Scope<'_>, mut width: i64, block: &BlockConfig, level: Level) -> Result<DownBlock> {
        let channels = block.channels;
        let mut layers = Vec::new();
        for i in 0..block.resnets {
            let resnet = self.resnet((width, channels), 1.0, level);
            layers.push(self.layer(scope, i, &resnet, block.attention.as_ref())?);
            width = channels;
            self.widths.push(channels);
        }
        let downsampler = if block.resamples {
            self.widths.push(channels);
            let padding = self.config.downsample_padding;
            let scope = scope.at("downsamplers").at(0).at("conv");
            let conv = Conv2d::open_strided(&scope, channels, channels, 3, 2, padding)?;
            Some(Downsampler { conv, pads_end: padding == 0 })
        } else {
            None
        };
        Ok(DownBlock { layers, downsampler })
    }

    fn mid(&mut self, scope: &Scope<'_>, mid: &MidConfig) -> Result<MidBlock> {
        let resnet = self.resnet((mid.channels, mid.channels), mid.scale, level::mid(self.config));
        let first = self.layer(scope, 0, &resnet, mid.attention.as_ref())?;
        let second =
            if mid.attention.is_some() { Some(Resnet::open(&scope.at("resnets").at(1), &resnet)?) } else { None };
        Ok(MidBlock { first, second })
    }

    fn up(&mut self, scope: &Scope<'_>, mut width: i64, block: &BlockConfig, level: Level) -> Result<UpBlock> {
        let channels = block.channels;
        let mut layers = Vec::new();
        for i in 0..block.resnets {
            let skip = self.widths.pop().ok_or_else(nothing_left)?;
            let resnet = self.resnet((width + skip, channels), 1.0, level);
            layers.push(self.layer(scope, i, &resnet, block.attention.as_ref())?);
            width = channels;
        }
        let upsampler = if block.resamples {
            let scope = scope.at("upsamplers").at(0).at("conv");
            Some(Conv2d::open_three(&scope, channels, channels, level.doubled().pixels())?)
        } else {
            None
        };
        Ok(UpBlock { layers, upsampler })
    }

    fn layer(
        &mut self,
        scope: &Scope<'_>,
        i: usize,
        shape: &ResnetShape,
        attention: Option<&AttentionConfig>,
    ) -> Result<Layer> {
        let resnet = Resnet::open(&scope.at("resnets").at(i), shape)?;
        let depth = |attention: &AttentionConfig| attention.depths.get(i).copied().unwrap_or_default();
        let transformer = match attention {
            Some(attention) => Some(Transformer2d::open(
                &scope.at("attentions").at(i),
                shape.outputs,
                self.config.resnet.groups,
                depth(attention),
                attention,
                self.texts,
            )?),
            None => None,
        };
        Ok(Layer { resnet, transformer })
    }

    fn resnet(&self, (inputs, outputs): (i64, i64), scale: f64, level: Level) -> ResnetShape {
        let shared = &self.config.resnet;
        ResnetShape {
            inputs,
            outputs,
            groups: shared.groups,
            eps: shared.eps,
            activation: shared.activation,
            time: Some(TimeShape { width: self.config.time.embed_dim, scale_shift: shared.scale_shift }),
            scale,
            pixels: level.pixels(),
        }
    }
}
