//! The decoder of `AutoencoderKL` of diffusers: latents to pictures.

use tch::Tensor;

use crate::Result;
use crate::config::{Activation, VaeConfig};
use crate::models::resnet::{Resnet, ResnetShape};
use crate::nn::attention::{Mask, attend};
use crate::nn::{Conv2d, GroupNorm, Linear, upsample_nearest};
use crate::parts::Part;
use crate::pool::Network;
use crate::weights::{Scope, WeightMap};

/// Epsilon of all its group norms.
const EPS: f64 = 1e-6;

/// The decoder of an autoencoder.
#[derive(Debug)]
pub struct AutoencoderKl {
    config: VaeConfig,
    post_quant_conv: Option<Conv2d>,
    conv_in: Conv2d,
    mid: MidBlock,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl AutoencoderKl {
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

    /// The config it was built from.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Undoes the scaling that diffusion works in, as diffusers' SDXL pipeline does.
    pub fn unscale(&self, latents: &Tensor) -> Result<Tensor> {
        let scale = self.config.scaling_factor;
        let Some((mean, std)) = &self.config.latents_statistics else {
            return Ok(latents.f_div_scalar(scale)?);
        };
        let channel = |values: &[f64]| {
            let tensor = Tensor::f_from_slice(values)?.f_view([1, -1, 1, 1])?;
            tensor.f_to_device_(latents.device(), latents.f_kind()?, false, false)
        };
        Ok(latents.f_mul(&channel(std)?)?.f_div_scalar_(scale)?.f_add_(&channel(mean)?)?)
    }

    /// `(batch, latent_channels, h, w)`, unscaled, to `(batch, out_channels, h·f, w·f)` around -1…1.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let mut hidden = match &self.post_quant_conv {
            Some(conv) => self.conv_in.forward(&conv.forward(latents)?)?,
            None => self.conv_in.forward(latents)?,
        };
        hidden = self.mid.forward(&hidden)?;
        for block in &self.up {
            hidden = block.forward(hidden)?;
        }
        // `act_fn` is for the resnets; this one is always silu.
        self.conv_out.forward(&Activation::Silu.apply(self.norm_out.forward(&hidden)?)?)
    }
}

impl Network for AutoencoderKl {
    fn open(part: &Part, weights: &WeightMap) -> Result<Self> {
        Self::open(weights, VaeConfig::read(&part.name, &part.config)?)
    }

    /// The half that is not built.
    fn is_known_spare(name: &str) -> bool {
        name.starts_with("encoder.") || name.starts_with("quant_conv.")
    }
}

fn resnet(scope: &Scope<'_>, config: &VaeConfig, inputs: i64, outputs: i64) -> Result<Resnet> {
    let shape = ResnetShape {
        inputs,
        outputs,
        groups: config.norm_groups,
        eps: EPS,
        activation: config.activation,
        time: None,
        scale: 1.0,
    };
    Resnet::open(scope, &shape)
}

#[derive(Debug)]
struct MidBlock {
    first: Resnet,
    attention: Option<Attention>,
    second: Resnet,
}

impl MidBlock {
    fn open(scope: &Scope<'_>, config: &VaeConfig, width: i64) -> Result<Self> {
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

    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let mut hidden = self.first.forward(hidden, None)?;
        if let Some(attention) = &self.attention {
            hidden = attention.forward(&hidden)?;
        }
        self.second.forward(&hidden, None)
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
        let normed = self.norm.forward(input)?.f_view([batch, channels, -1])?.f_transpose(1, 2)?;
        let [query, key, value] = [&self.query, &self.key, &self.value]
            .map(|projection| Ok::<_, crate::Error>(projection.forward(&normed)?.f_unsqueeze(1)?));
        let attended = attend(&query?, &key?, &value?, Mask::None)?.f_squeeze_dim(1)?;
        let out = self.out.forward(&attended)?.f_transpose(1, 2)?;
        Ok(input.f_add(&out.f_reshape([batch, channels, height, width])?)?)
    }
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    fn open(scope: &Scope<'_>, config: &VaeConfig, inputs: i64, channels: i64, resamples: bool) -> Result<Self> {
        let mut width = inputs;
        let mut resnets = Vec::new();
        for i in 0..config.resnets {
            resnets.push(resnet(&scope.at("resnets").at(i), config, width, channels)?);
            width = channels;
        }
        let upsampler = if resamples {
            Some(Conv2d::open(&scope.at("upsamplers").at(0).at("conv"), channels, channels, 3)?)
        } else {
            None
        };
        Ok(Self { resnets, upsampler })
    }

    fn forward(&self, mut hidden: Tensor) -> Result<Tensor> {
        for resnet in &self.resnets {
            hidden = resnet.forward(&hidden, None)?;
        }
        match &self.upsampler {
            Some(conv) => conv.forward(&upsample_nearest(&hidden, None)?),
            None => Ok(hidden),
        }
    }
}
