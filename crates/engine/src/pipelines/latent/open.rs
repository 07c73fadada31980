//! From parts to an open model: what the parts say they are, and whether they fit together.

use std::cell::OnceCell;

use easel_engine_protocol::{Dtype, PipelineKind};
use tch::Device;

use super::{LatentModel, Layout};
use crate::config::{ClipConfig, UNetConfig, VaeConfig};
use crate::parts::ModelParts;
use crate::pipelines::text::{Encoder, TextCache};
use crate::precision::{self, Network};
use crate::tokenizer::ClipTokenizer;
use crate::{Error, Result};

/// What a family's models are made of.
pub(in crate::pipelines) struct Recipe {
    pub pipeline: PipelineKind,
    /// The pipelines of diffusers that have these components.
    pub classes: &'static [&'static str],
    /// Text encoders with their tokenizers, in the order of the concatenation, and whether a model may lack it.
    pub encoders: &'static [(&'static str, &'static str, bool)],
    /// Whether half precision can overflow in the VAE, so that its config is heeded.
    pub upcasts_vae: bool,
}

/// Opens the model of these parts. Its networks are built when they are first used.
pub(in crate::pipelines) fn open(
    parts: ModelParts,
    device: Device,
    dtype: Dtype,
    recipe: &Recipe,
) -> Result<LatentModel> {
    let class = parts.class.as_str();
    if !recipe.classes.contains(&class) {
        return Err(Error::broken(format!("the model is a {class}, not a {}", recipe.classes.join(" or "))));
    }
    // The text encoders of these families are CLIP's, for which the table says the same.
    let kind = precision::kind(Network::Denoiser, dtype);
    let mut warnings = parts.warnings.clone();
    warnings.extend(precision::warning(device, dtype));
    let unet = UNetConfig::read("unet", &parts.needed("unet", "UNet2DConditionModel")?.config)?;
    let vae = VaeConfig::read("vae", &parts.needed("vae", "AutoencoderKL")?.config)?;
    if vae.shift_factor.is_some_and(|shift| shift != 0.0) {
        warnings.push("vae: shift_factor is set, but pipelines with a unet do not apply it".to_owned());
    }
    let overflows = recipe.upcasts_vae && vae.force_upcast;
    let vae_kind = precision::kind(Network::Vae { overflows }, dtype);
    let encoders = encoders(&parts, recipe, &mut warnings)?;
    check_tokenizers(&encoders)?;
    let layout = Layout::of(&unet, &vae)?;
    let text: i64 = encoders.iter().map(|encoder| encoder.config.hidden_size).sum();
    match unet.text_width() {
        Err((a, b)) => {
            return Err(Error::broken(format!("unet: cross_attention_dim is {a} and {b}, there is one text")));
        }
        Ok(Some(width)) if width != text => {
            let together =
                if encoders.len() == 1 { "the text encoder gives" } else { "the text encoders together give" };
            return Err(Error::broken(format!("unet: cross_attention_dim is {width}, {together} {text}")));
        }
        Ok(_) => {}
    }
    let preview = OnceCell::new();
    let (pipeline, texts) = (recipe.pipeline, TextCache::default());
    Ok(LatentModel { pipeline, parts, device, kind, vae_kind, unet, layout, vae, encoders, texts, warnings, preview })
}

fn encoders(parts: &ModelParts, recipe: &Recipe, warnings: &mut Vec<String>) -> Result<Vec<Encoder>> {
    let mut encoders = Vec::new();
    for &(name, tokenizer, may_lack) in recipe.encoders {
        let Some(part) = parts.part(name) else {
            if may_lack {
                continue;
            }
            return Err(Error::broken(format!("the model has no {name}, which a {} needs", parts.class)));
        };
        let config = ClipConfig::read(name, &part.class, &part.config)?;
        if !config.unread.is_empty() {
            let keys = config.unread.join(", ");
            warnings.push(format!("{name}: the config sets {keys}, which changes nothing here"));
        }
        encoders.push(Encoder { name, tokenizer: ClipTokenizer::open(parts.tokenizer(tokenizer)?)?, config });
    }
    Ok(encoders)
}

/// The encoders' states are laid side by side, so the tokenizers must cut at the same length, which fits both.
fn check_tokenizers(encoders: &[Encoder]) -> Result<()> {
    let lengths: Vec<_> = encoders.iter().map(|encoder| encoder.tokenizer.length()).collect();
    if lengths.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
        return Err(Error::broken(format!("the tokenizers have a model_max_length of {lengths:?}, one is needed")));
    }
    for Encoder { tokenizer, config, .. } in encoders {
        let (length, positions) = (tokenizer.length(), config.positions);
        if i64::try_from(length).is_ok_and(|length| length > positions) {
            return Err(Error::broken(format!(
                "the tokenizer has a model_max_length of {length}, the text encoder has {positions} positions"
            )));
        }
    }
    Ok(())
}
