//! The diffusion network of a file: a UNet by its measures, a transformer by its names.

use crate::TensorType;

use super::Identity;
use super::names::Names;
use super::signatures::{Key, PREFIXES, Signature, TRANSFORMERS};
use super::unet::{self, Unet};
use super::words::{Confidence, Family, Kind, Naming, Prediction, Variant};

/// A network that was found.
pub(super) struct Denoiser {
    pub prefix: &'static str,
    pub naming: Naming,
    /// Kind, family, edition, variant, confidence and reasons are filled in.
    pub identity: Identity,
    /// The UNet, where it is one.
    pub unet: Option<Unet>,
}

/// Finds the diffusion network of a file.
pub(super) fn find(names: &Names<'_>) -> Option<Denoiser> {
    transformer(names).or_else(|| unet::whole(names).map(|unet| of_unet(names, unet)))
}

fn of_unet(names: &Names<'_>, unet: Unet) -> Denoiser {
    let mut identity = Identity { kind: Kind::Unet, variant: unet.variant(), ..Identity::unknown() };
    identity.why.push(unet.seen());
    identity.quantization = quantization(names, unet.prefix);
    if let Some((family, edition)) = unet.family() {
        identity.family = Some(family);
        identity.edition = edition.map(str::to_owned);
        identity.confidence = Confidence::Certain;
        // What extra channels mean to another family is not known.
        if matches!(family, Family::Other(_)) && identity.variant != Variant::Normal {
            identity.variant = Variant::Unusual;
        }
        if edition == Some("pruned") {
            identity.why.push(format!("{} transformer layers in its deepest block, where SDXL has 10", unet.depth));
            identity.confidence = Confidence::Likely;
        }
    } else {
        identity.candidates = unet.nearest();
        identity.why.push("no family has these measures".to_owned());
    }
    Denoiser { prefix: unet.prefix, naming: unet.naming, identity, unet: Some(unet) }
}

fn transformer(names: &Names<'_>) -> Option<Denoiser> {
    let (signature, prefix) = first_match(names, TRANSFORMERS)?;
    let mut identity = Identity { kind: Kind::Transformer, confidence: Confidence::Certain, ..Identity::unknown() };
    identity.family = signature.family;
    identity.edition = signature.edition.map(str::to_owned);
    identity.prediction = Some(Prediction::Flow);
    identity.why.push(seen(signature.keys, prefix));
    identity.quantization = quantization(names, prefix);
    match signature.family {
        Some(Family::Flux1) => flux1(names, prefix, signature.naming, &mut identity),
        Some(Family::Flux2) => flux2(names, prefix, signature.naming, &mut identity),
        Some(Family::Sd3) => sd3(names, prefix, signature.naming, &mut identity),
        Some(Family::Other(_)) => {
            identity.prediction = None;
            identity.why.push("this family is recognised, and not run".to_owned());
        }
        _ => {}
    }
    Some(Denoiser { prefix, naming: signature.naming, identity, unet: None })
}

/// The first signature all of whose names are there under one of the prefixes.
pub(super) fn first_match<'s>(names: &Names<'_>, signatures: &'s [Signature]) -> Option<(&'s Signature, &'static str)> {
    signatures.iter().find_map(|signature| {
        let prefix = PREFIXES.iter().find(|prefix| signature.keys.iter().all(|key| matches(names, prefix, key)))?;
        Some((signature, *prefix))
    })
}

pub(super) fn matches(names: &Names<'_>, prefix: &str, key: &Key) -> bool {
    names.has_in(prefix, key.name)
        && key.axis.is_none_or(|(axis, lens)| names.axis(prefix, key.name, axis).is_some_and(|len| lens.contains(&len)))
}

fn seen(keys: &[Key], prefix: &str) -> String {
    let names: Vec<String> = keys.iter().take(3).map(|key| format!("{prefix}{}", key.name)).collect();
    format!("it has {}", names.join(", "))
}

/// How the weights are packed, where they are no plain numbers.
fn quantization(names: &Names<'_>, prefix: &str) -> Option<String> {
    let packed = names.iter().find_map(|name| {
        if name.contains(".quant_state.bitsandbytes__nf4") {
            Some("nf4")
        } else if name.contains(".quant_state.bitsandbytes__fp4") {
            Some("fp4")
        } else if name.ends_with(".qweight") && name.starts_with(prefix) {
            Some("svdquant")
        } else {
            None
        }
    });
    packed.map(str::to_owned).or_else(|| {
        let is_fp8 = names
            .with_prefix(prefix)
            .filter_map(|name| names.tensor(name))
            .any(|tensor| matches!(tensor.dtype, TensorType::F8E4M3 | TensorType::F8E5M2) && tensor.shape.len() == 2);
        is_fp8.then(|| "fp8".to_owned())
    })
}

/// dev embeds the guidance, schnell does not; the input's width tells what it takes.
fn flux1(names: &Names<'_>, prefix: &str, naming: Naming, identity: &mut Identity) {
    let bfl = naming == Naming::Bfl;
    let (guidance, input, text) = if bfl {
        ("guidance_in.in_layer.weight", "img_in.weight", "txt_in.weight")
    } else {
        ("time_text_embed.guidance_embedder.linear_1.weight", "x_embedder.weight", "context_embedder.weight")
    };
    let is_dev = names.has_in(prefix, guidance);
    identity.edition = Some(if is_dev { "dev" } else { "schnell" }.to_owned());
    identity.why.push(format!("the guidance is {}", if is_dev { "embedded: dev" } else { "not embedded: schnell" }));
    if identity.quantization.as_deref().is_some_and(|packing| packing != "fp8") {
        identity.why.push("its weights are packed: their shapes say nothing".to_owned());
        return;
    }
    let out = if bfl { "final_layer.linear.weight" } else { "proj_out.weight" };
    let (input, out) = (names.axis(prefix, input, 1), names.axis(prefix, out, 0));
    identity.variant = match (input, out.unwrap_or(64)) {
        (Some(input), out) if input == out => Variant::Normal,
        (Some(384), 64) => Variant::Fill,
        (Some(128), 64) => Variant::Control,
        _ => Variant::Unusual,
    };
    if let Some(input) = input {
        identity.why.push(format!("{input} packed input channels"));
    }
    let text = names.axis(prefix, text, 1);
    if text != Some(4096) {
        identity.confidence = Confidence::Likely;
        identity.why.push(format!("text of width {}, where FLUX.1 has 4096", text.unwrap_or(0)));
    }
}

/// The models differ in their text encoders.
fn flux2(names: &Names<'_>, prefix: &str, naming: Naming, identity: &mut Identity) {
    let text = if naming == Naming::Bfl { "txt_in.weight" } else { "context_embedder.weight" };
    let width = names.axis(prefix, text, 1);
    identity.edition = match width {
        Some(7680) => Some("klein-4b".to_owned()),
        Some(12288) => Some("klein-9b".to_owned()),
        Some(15360) => Some("dev".to_owned()),
        _ => None,
    };
    if identity.edition.is_none() {
        identity.confidence = Confidence::Likely;
        identity.why.push(format!("text of width {}, which is none of FLUX.2's", width.unwrap_or(0)));
    }
}

/// By the number of positions, and of blocks.
fn sd3(names: &Names<'_>, prefix: &str, naming: Naming, identity: &mut Identity) {
    let (positions, blocks) = if naming == Naming::Diffusers {
        (names.axis(prefix, "pos_embed.pos_embed", 1), names.count(&format!("{prefix}transformer_blocks.")))
    } else {
        (names.axis(prefix, "pos_embed", 1), names.count(&format!("{prefix}joint_blocks.")))
    };
    identity.edition = match (positions, blocks) {
        (_, 38) => Some("3.5-large"),
        (Some(147_456), _) => Some("3.5-medium"),
        (Some(36_864), 24) => Some("medium"),
        _ => None,
    }
    .map(str::to_owned);
    if identity.edition.is_none() {
        identity.confidence = Confidence::Likely;
        identity.why.push(format!("{blocks} blocks, which is none of the published models"));
    }
}
