//! `ResnetBlock2D` of diffusers: two normed convolutions around which the picture is carried, with the timestep
//! let in between. The UNet and the VAE are mostly made of it.

use tch::Tensor;

use super::strips::Normed;
use crate::Result;
use crate::config::Activation;
use crate::nn::{Conv2d, GroupNorm, Linear, Pixels};
use crate::weights::Scope;

/// The shape of a resnet.
#[derive(Debug, Clone, Copy)]
pub struct ResnetShape {
    /// Channels that come in.
    pub inputs: i64,
    /// Channels that go out.
    pub outputs: i64,
    /// Groups of both norms.
    pub groups: i64,
    /// Epsilon of both norms.
    pub eps: f64,
    /// Activation after both norms.
    pub activation: Activation,
    /// How the timestep is let in, where there is one.
    pub time: Option<TimeShape>,
    /// What the sum at the end is divided by.
    pub scale: f64,
    /// What its pictures are like.
    pub pixels: Pixels,
}

/// How the timestep is let in.
#[derive(Debug, Clone, Copy)]
pub struct TimeShape {
    /// Width of its embedding.
    pub width: i64,
    /// Whether it scales and shifts after the second norm, instead of being added before it.
    pub scale_shift: bool,
}

/// A resnet.
#[derive(Debug)]
pub struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Option<(Linear, bool)>,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
    activation: Activation,
    scale: f64,
}

impl Resnet {
    /// Builds the resnet of the scope.
    pub fn open(scope: &Scope<'_>, shape: &ResnetShape) -> Result<Self> {
        let ResnetShape { inputs, outputs, groups, eps, pixels, .. } = *shape;
        let time = match shape.time {
            Some(time) => {
                let width = if time.scale_shift { outputs * 2 } else { outputs };
                Some((Linear::open(&scope.at("time_emb_proj"), time.width, width)?, time.scale_shift))
            }
            None => None,
        };
        let shortcut =
            if inputs == outputs { None } else { Some(Conv2d::open(&scope.at("conv_shortcut"), inputs, outputs, 1)?) };
        Ok(Self {
            norm1: GroupNorm::open(&scope.at("norm1"), groups, inputs, eps)?,
            conv1: Conv2d::open_three(&scope.at("conv1"), inputs, outputs, pixels)?,
            time,
            norm2: GroupNorm::open(&scope.at("norm2"), groups, outputs, eps)?,
            conv2: Conv2d::open_three(&scope.at("conv2"), outputs, outputs, pixels)?,
            shortcut,
            activation: shape.activation,
            scale: shape.scale,
        })
    }

    /// `(batch, inputs, h, w)` to `(batch, outputs, h, w)`; `time` is `(batch, width)`, already activated: it is
    /// the same for every resnet of a step.
    pub fn forward(&self, input: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let mut hidden = self.norm1.activated(input, None, self.activation)?;
        hidden = self.conv1.forward(&hidden)?;
        hidden = match (&self.time, time) {
            (Some((projection, scale_shift)), Some(time)) => {
                let time = projection.forward(time)?;
                if *scale_shift {
                    let time = time.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
                    let width = time.size4()?.1 / 2;
                    let scale = time.f_narrow(1, 0, width)?.f_add_scalar(1.0)?;
                    let shift = time.f_narrow(1, width, width)?;
                    self.activation.apply(self.norm2.forward(&hidden)?.f_mul(&scale)?.f_add(&shift)?)?
                } else {
                    self.norm2.activated(&hidden, Some(&time), self.activation)?
                }
            }
            _ => self.norm2.activated(&hidden, None, self.activation)?,
        };
        hidden = self.conv2.forward(&hidden)?;
        // Sums of pictures are made out of place, here as in diffusers: in place they would keep the strides of a
        // convolution's output, which at one pixel pass for channels-last and lead to kernels that round otherwise.
        hidden = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input)?.f_add(&hidden)?,
            None => input.f_add(&hidden)?,
        };
        self.scaled(hidden)
    }

    /// The same without a time, for pictures so large that what is held at once matters: what it takes beside input and
    /// output, it takes for a strip of them.
    pub fn forward_lean(&self, input: &Tensor) -> Result<Tensor> {
        let normed = |norm| Normed { norm, activation: self.activation };
        let conv1 = self.conv1.ready()?;
        let hidden = normed(&self.norm1).in_strips(input, |x| conv1.forward(x))?;
        drop(conv1);
        let (conv2, shortcut) = (self.conv2.ready()?, self.shortcut.as_ref().map(Conv2d::ready).transpose()?);
        normed(&self.norm2).in_place(
            hidden,
            input,
            |x| conv2.forward(x),
            |input, hidden| {
                let sum = match &shortcut {
                    Some(shortcut) => shortcut.forward(input)?.f_add(hidden)?,
                    None => input.f_add(hidden)?,
                };
                self.scaled(sum)
            },
        )
    }

    fn scaled(&self, mut sum: Tensor) -> Result<Tensor> {
        #[expect(clippy::float_cmp, reason = "dividing by one is skipped, nothing else")]
        let whole = self.scale == 1.0;
        if whole { Ok(sum) } else { Ok(sum.f_div_scalar_(self.scale)?) }
    }
}
