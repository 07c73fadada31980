//! From a folder to an open model: what the folder says it is, and whether its parts fit together.

use easel_engine_protocol::Dtype;
use tch::{Device, Kind};

use super::Sdxl;
use crate::config::{ClipConfig, UNetConfig, VaeConfig};
use crate::parts::ModelParts;
use crate::tokenizer::ClipTokenizer;
use crate::{Error, Result};

/// Sizes and crops that SDXL is told: original, crop and target, two numbers each.
pub(super) const TIME_IDS: i64 = 6;

/// The pipelines that have these components and can draw from text.
const CLASSES: [&str; 3] =
    ["StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"];

pub(super) fn open(parts: ModelParts, device: Device, dtype: Dtype) -> Result<Sdxl> {
    let class = parts.class.as_str();
    if !CLASSES.contains(&class) {
        return Err(Error::broken(format!("the model is a {class}, not a {}", CLASSES.join(" or "))));
    }
    if parts.flag("requires_aesthetics_score", false)? {
        return Err(Error::broken("the model asks for an aesthetics score: it refines pictures and draws none")
            .with_hint("use the base model"));
    }
    let kind = kind_of(dtype);
    let mut warnings = parts.warnings.clone();
    let unet = UNetConfig::read("unet", &parts.needed("unet", "UNet2DConditionModel")?.config)?;
    let vae = VaeConfig::read("vae", &parts.needed("vae", "AutoencoderKL")?.config)?;
    if vae.shift_factor.is_some_and(|shift| shift != 0.0) {
        warnings.push("vae: shift_factor is set, but SDXL pipelines do not apply it".to_owned());
    }
    let vae_kind = if vae.force_upcast && kind == Kind::Half { Kind::Float } else { kind };
    let encoders = encoders(&parts, &mut warnings)?;
    let force_zeros = parts.flag("force_zeros_for_empty_prompt", true)?;
    let model = Sdxl { parts, device, kind, vae_kind, encoders, unet, vae, force_zeros, warnings };
    check_fit(&model)?;
    Ok(model)
}

fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::Fp32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::Fp16 => Kind::Half,
    }
}

fn encoders(parts: &ModelParts, warnings: &mut Vec<String>) -> Result<Vec<(&'static str, ClipTokenizer, ClipConfig)>> {
    let mut encoders = Vec::new();
    for (name, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")] {
        let Some(part) = parts.part(name) else {
            if name == "text_encoder" {
                continue;
            }
            return Err(Error::broken(format!("the model has no {name}, which SDXL needs")));
        };
        let config = ClipConfig::read(name, &part.class, &part.config)?;
        if !config.unread.is_empty() {
            let keys = config.unread.join(", ");
            warnings.push(format!("{name}: the config sets {keys}, which changes nothing here"));
        }
        encoders.push((name, ClipTokenizer::open(parts.tokenizer(tokenizer)?)?, config));
    }
    Ok(encoders)
}

/// Whether the parts were made for each other; otherwise libtorch would say it in terms of matrices, and late.
fn check_fit(model: &Sdxl) -> Result<()> {
    check_tokenizers(&model.encoders)?;
    let (unet, vae) = (&model.unet, &model.vae);
    let latents = vae.latent_channels;
    if unet.in_channels != latents || unet.out_channels != latents {
        return Err(Error::broken(format!(
            "the unet maps {} channels to {} and the vae decodes {latents}: text to image needs all the same",
            unet.in_channels, unet.out_channels
        )));
    }
    let text: i64 = model.encoders.iter().map(|(_, _, config)| config.hidden_size).sum();
    match unet.text_width() {
        Err((a, b)) => {
            return Err(Error::broken(format!("unet: cross_attention_dim is {a} and {b}, there is one text")));
        }
        Ok(Some(width)) if width != text => {
            return Err(Error::broken(format!(
                "unet: cross_attention_dim is {width}, the text encoders give {text} together"
            )));
        }
        Ok(_) => {}
    }
    let Some(added) = unet.added else {
        return Err(Error::broken("unet: addition_embed_type is null, SDXL needs text_time"));
    };
    let Some(pooled) = model.encoders.iter().find_map(|(_, _, config)| config.projection_dim) else {
        return Err(Error::broken("no text encoder is a CLIPTextModelWithProjection, SDXL needs the pooled text"));
    };
    let given = added.time_dim.saturating_mul(TIME_IDS).saturating_add(pooled);
    if given != added.input_dim {
        return Err(Error::broken(format!(
            "unet: projection_class_embeddings_input_dim is {}, the pooled text and {TIME_IDS} sizes give {given}",
            added.input_dim
        )));
    }
    Ok(())
}

/// The encoders' states are laid side by side, so the tokenizers must cut at the same length, which fits both.
fn check_tokenizers(encoders: &[(&'static str, ClipTokenizer, ClipConfig)]) -> Result<()> {
    let lengths: Vec<_> = encoders.iter().map(|(_, tokenizer, _)| tokenizer.length()).collect();
    if lengths.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
        return Err(Error::broken(format!("the tokenizers have a model_max_length of {lengths:?}, one is needed")));
    }
    for (_, tokenizer, config) in encoders {
        let (length, positions) = (tokenizer.length(), config.positions);
        if i64::try_from(length).is_ok_and(|length| length > positions) {
            return Err(Error::broken(format!(
                "the tokenizer has a model_max_length of {length}, the text encoder has {positions} positions"
            )));
        }
    }
    Ok(())
}
