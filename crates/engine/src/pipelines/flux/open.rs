//! From a model's parts to a pipeline: what the parts say they are, and whether they fit together.

use std::cell::OnceCell;

use easel_engine_protocol::Dtype;
use tch::Device;

use super::Flux;
use crate::config::{ClipConfig, FluxConfig, T5Config, VaeConfig};
use crate::parts::ModelParts;
use crate::pipelines::text::TextCache;
use crate::precision::{self, Network};
use crate::tokenizer::{ClipTokenizer, T5Tokenizer};
use crate::{Error, Result};

/// The pipelines that have these components and can draw from text.
const CLASSES: [&str; 3] = ["FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"];

pub(super) fn open(parts: ModelParts, device: Device, dtype: Dtype) -> Result<Flux> {
    let class = parts.class.as_str();
    if !CLASSES.contains(&class) {
        return Err(Error::broken(format!("the model is a {class}, not a {}", CLASSES.join(" or "))));
    }
    let (kind, t5_kind) = (precision::kind(Network::Denoiser, dtype), precision::kind(Network::T5, dtype));
    let mut warnings = parts.warnings.clone();
    warnings.extend(precision::warning(device, dtype));
    let transformer = FluxConfig::read("transformer", &parts.needed("transformer", "FluxTransformer2DModel")?.config)?;
    let vae = VaeConfig::read("vae", &parts.needed("vae", "AutoencoderKL")?.config)?;
    let vae_kind = precision::kind(Network::Vae { overflows: vae.force_upcast }, dtype);
    let part = parts.needed("text_encoder", "CLIPTextModel")?;
    let clip = ClipConfig::read(&part.name, &part.class, &part.config)?;
    let part = parts.needed("text_encoder_2", "T5EncoderModel")?;
    let t5 = T5Config::read(&part.name, &part.class, &part.config)?;
    for (name, unread) in [("text_encoder", &clip.unread), ("text_encoder_2", &t5.unread)] {
        if !unread.is_empty() {
            warnings.push(format!("{name}: the config sets {}, which changes nothing here", unread.join(", ")));
        }
    }
    let clip_tokenizer = ClipTokenizer::open(parts.tokenizer("tokenizer")?)?;
    let t5_tokenizer = T5Tokenizer::open(parts.tokenizer("tokenizer_2")?)?;
    check_fit(&transformer, &vae, &clip, &t5)?;
    let length = clip_tokenizer.length();
    if i64::try_from(length).is_ok_and(|length| length > clip.positions) {
        let positions = clip.positions;
        return Err(Error::broken(format!(
            "the tokenizer has a model_max_length of {length}, the text encoder has {positions} positions"
        )));
    }
    Ok(Flux {
        parts,
        device,
        kind,
        t5_kind,
        vae_kind,
        clip_tokenizer,
        t5_tokenizer,
        clip,
        t5,
        transformer,
        vae,
        texts: TextCache::default(),
        warnings,
        preview: OnceCell::new(),
    })
}

/// Whether the parts were made for each other; otherwise libtorch would say it in terms of matrices, and late.
fn check_fit(transformer: &FluxConfig, vae: &VaeConfig, clip: &ClipConfig, t5: &T5Config) -> Result<()> {
    let patch = vae.latent_channels.saturating_mul(4);
    if transformer.in_channels != patch || transformer.out_channels != patch {
        return Err(Error::broken(format!(
            "the transformer maps {} numbers of a patch to {}, the vae's latents give {patch}",
            transformer.in_channels, transformer.out_channels
        ))
        .with_hint("FLUX.1 schnell and dev can be used; Fill, Depth, Canny and Kontext cannot"));
    }
    for (key, wanted, encoder, given) in [
        ("joint_attention_dim", transformer.text_dim, "text_encoder_2", t5.d_model),
        ("pooled_projection_dim", transformer.pooled_dim, "text_encoder", clip.hidden_size),
    ] {
        if wanted != given {
            return Err(Error::broken(format!("transformer: {key} is {wanted}, {encoder} gives {given}")));
        }
    }
    Ok(())
}
