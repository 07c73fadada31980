//! From a folder to an open model: what the folder says it is, and whether its parts fit together.

use easel_catalog::{Component, DiffusersFolder};
use easel_engine_protocol::Dtype;
use serde_json::Value;
use tch::{Device, Kind};

use super::Sdxl;
use super::prompt::TextEncoder;
use crate::config::{ClipConfig, UNetConfig, VaeConfig};
use crate::models::{AutoencoderKl, ClipText, UNet};
use crate::tokenizer::ClipTokenizer;
use crate::weights::WeightMap;
use crate::{Error, Result};

/// Sizes and crops that SDXL is told: original, crop and target, two numbers each.
pub(super) const TIME_IDS: i64 = 6;

/// The pipelines that have these components and can draw from text.
const CLASSES: [&str; 3] =
    ["StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"];

pub(super) fn open(folder: &DiffusersFolder, device: Device, dtype: Dtype) -> Result<Sdxl> {
    let class = folder.class_name();
    if !CLASSES.contains(&class) {
        return Err(Error::broken(format!("the model is a {class}, not a {}", CLASSES.join(" or "))));
    }
    if flag(folder, "requires_aesthetics_score", false)? {
        return Err(Error::broken("the model asks for an aesthetics score: it refines pictures and draws none")
            .with_hint("use the base model"));
    }
    let mut opener = Opener { folder, device, kind: kind_of(dtype), warnings: Vec::new() };
    let scheduler = opener.component("scheduler")?.config()?;
    let unet = opener.unet()?;
    let (vae, vae_kind) = opener.vae()?;
    let encoders = opener.encoders()?;
    let model = Sdxl {
        device,
        kind: opener.kind,
        vae_kind,
        encoders,
        unet,
        vae,
        scheduler,
        force_zeros: flag(folder, "force_zeros_for_empty_prompt", true)?,
        warnings: opener.warnings,
    };
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

fn flag(folder: &DiffusersFolder, key: &str, default: bool) -> Result<bool> {
    match folder.model_index().get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(Error::broken(format!("model_index.json: {key} is {other}, true or false is needed"))),
    }
}

struct Opener<'a> {
    folder: &'a DiffusersFolder,
    device: Device,
    kind: Kind,
    warnings: Vec<String>,
}

impl<'a> Opener<'a> {
    fn component(&self, name: &str) -> Result<&'a Component> {
        let missing = || Error::broken(format!("model_index.json names no {name}, which SDXL needs"));
        self.folder.component(name).ok_or_else(missing)
    }

    fn component_of_class(&self, name: &str, class: &str) -> Result<&'a Component> {
        let component = self.component(name)?;
        if component.class == class {
            return Ok(component);
        }
        Err(Error::broken(format!("{name} is a {}, only {class} is supported", component.class)))
    }

    fn unet(&mut self) -> Result<UNet> {
        let component = self.component_of_class("unet", "UNet2DConditionModel")?;
        let config = UNetConfig::read("unet", &component.config()?)?;
        let weights = WeightMap::of(component, self.device, self.kind)?;
        let unet = UNet::open(&weights, config)?;
        self.warnings.extend(weights.left_over(|_| false));
        Ok(unet)
    }

    fn vae(&mut self) -> Result<(AutoencoderKl, Kind)> {
        let component = self.component_of_class("vae", "AutoencoderKL")?;
        let config = VaeConfig::read("vae", &component.config()?)?;
        if config.shift_factor.is_some_and(|shift| shift != 0.0) {
            self.warnings.push("vae: shift_factor is set, but SDXL pipelines do not apply it".to_owned());
        }
        let overflows = config.force_upcast && self.kind == Kind::Half;
        let kind = if overflows { Kind::Float } else { self.kind };
        let weights = WeightMap::of(component, self.device, kind)?;
        let vae = AutoencoderKl::open(&weights, config)?;
        self.warnings.extend(weights.left_over(AutoencoderKl::is_known_spare));
        Ok((vae, kind))
    }

    fn encoders(&mut self) -> Result<Vec<TextEncoder>> {
        let mut encoders = Vec::new();
        for (name, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")] {
            if name == "text_encoder" && self.folder.component(name).is_none() {
                continue;
            }
            let component = self.component(name)?;
            let config = ClipConfig::read(name, &component.class, &component.config()?)?;
            if !config.unread.is_empty() {
                let keys = config.unread.join(", ");
                self.warnings.push(format!("{name}: the config sets {keys}, which changes nothing here"));
            }
            let weights = WeightMap::of(component, self.device, self.kind)?;
            let model = ClipText::open(&weights, config)?;
            self.warnings.extend(weights.left_over(ClipText::is_known_spare));
            let tokenizer = ClipTokenizer::open(&self.component(tokenizer)?.dir)?;
            encoders.push(TextEncoder { tokenizer, model });
        }
        Ok(encoders)
    }
}

/// Whether the parts were made for each other; otherwise libtorch would say it in terms of matrices, and late.
fn check_fit(model: &Sdxl) -> Result<()> {
    check_tokenizers(&model.encoders)?;
    let (unet, vae) = (model.unet.config(), model.vae.config());
    let latents = vae.latent_channels;
    if unet.in_channels != latents || unet.out_channels != latents {
        return Err(Error::broken(format!(
            "the unet maps {} channels to {} and the vae decodes {latents}: text to image needs all the same",
            unet.in_channels, unet.out_channels
        )));
    }
    let text: i64 = model.encoders.iter().map(|encoder| encoder.model.config().hidden_size).sum();
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
    let Some(pooled) = model.encoders.iter().find_map(|encoder| encoder.model.config().projection_dim) else {
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
fn check_tokenizers(encoders: &[TextEncoder]) -> Result<()> {
    let lengths: Vec<_> = encoders.iter().map(|encoder| encoder.tokenizer.length()).collect();
    if lengths.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
        return Err(Error::broken(format!("the tokenizers have a model_max_length of {lengths:?}, one is needed")));
    }
    for encoder in encoders {
        let (length, positions) = (encoder.tokenizer.length(), encoder.model.config().positions);
        if i64::try_from(length).is_ok_and(|length| length > positions) {
            return Err(Error::broken(format!(
                "the tokenizer has a model_max_length of {length}, the text encoder has {positions} positions"
            )));
        }
    }
    Ok(())
}
