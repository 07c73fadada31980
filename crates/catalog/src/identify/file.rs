//! The order in which a file is asked what it is, and what is concluded from the parts that it has.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::TensorFile;

use super::denoiser::{self, Denoiser};
use super::encoder::{self, TextEncoder, Vae};
use super::names::Names;
use super::signatures::{PREFIXES, TRANSFORMERS, UPSCALERS};
use super::words::{Confidence, Family, Kind, Naming, Prediction, Variant};
use super::{Identity, Part, adapter, control, lora};

/// Tells what the files are, which together hold one model.
pub(super) fn identify(files: &[&TensorFile]) -> Identity {
    let names = Names::of(files);
    let notes: BTreeMap<&str, &str> =
        files.iter().flat_map(|file| &file.metadata).map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut identity = of_names(&names, &notes);
    for warning in files.iter().flat_map(|file| &file.warnings) {
        identity.why.push(warning.clone());
    }
    identity
}

fn of_names(names: &Names<'_>, notes: &BTreeMap<&str, &str>) -> Identity {
    control::identify(names)
        .or_else(|| denoiser::find(names).map(|found| with_parts(found, names, notes)))
        .or_else(|| adapter::ip_adapter(names))
        .or_else(|| lora::identify(names).map(|lora| with_base(lora, notes)))
        .or_else(|| adapter::textual_inversion(names))
        .or_else(|| adapter::hypernetwork(names))
        .or_else(|| adapter::t2i_adapter(names))
        .or_else(|| upscaler(names))
        .or_else(|| parts_alone(names, notes))
        .unwrap_or_else(|| unknown(names))
}

/// A diffusion network and what stands beside it.
fn with_parts(found: Denoiser, names: &Names<'_>, notes: &BTreeMap<&str, &str>) -> Identity {
    let Denoiser { prefix, naming, mut identity, unet } = found;
    let encoders = encoder::text_encoders(names);
    let vae = encoder::vae(names);
    if let (None, Some(unet)) = (identity.family, &unet)
        && let Some((family, reason)) = family_by_parts(unet.cross, unet.adm, &encoders)
    {
        identity.family = Some(family);
        identity.candidates.clear();
        identity.confidence = Confidence::Likely;
        identity.why.push(reason);
    }
    let network = if identity.kind == Kind::Unet { "unet" } else { "transformer" };
    let naming = match (naming, identity.family) {
        (Naming::CompVis, Some(Family::Sdxl | Family::SdxlRefiner)) => Naming::Sgm,
        _ => naming,
    };
    identity.naming = Some(naming);
    add_part(&mut identity, network, prefix, naming);
    add_others(&mut identity, &encoders, vae.as_ref());
    if identity.parts.len() > 1 {
        identity.kind = Kind::Checkpoint;
    }
    predict(&mut identity, names, notes);
    if names.iter().any(|name| name.contains("lora_up") || name.contains("lora_down")) {
        identity.why.push("it has tensors of a LoRA too, left over from a merge".to_owned());
    }
    missing(&mut identity);
    identity
}

/// A model of other widths than the published ones proves its family where its own text encoders fit its UNet.
fn family_by_parts(cross: Option<u64>, adm: Option<u64>, encoders: &[TextEncoder]) -> Option<(Family, String)> {
    let cross = cross?;
    let reason = |family: &str| format!("its text encoders fit its UNet as those of {family} do");
    match (encoders, adm) {
        ([one], None) if one.width == cross => {
            let is_second = one.naming == Naming::OpenClip;
            Some(if is_second { (Family::Sd2, reason("SD 2")) } else { (Family::Sd1, reason("SD 1")) })
        }
        ([one, two], Some(_)) if one.width.checked_add(two.width) == Some(cross) => {
            Some((Family::Sdxl, reason("SDXL")))
        }
        ([one], Some(_)) if one.width == cross => Some((Family::SdxlRefiner, reason("SDXL's refiner"))),
        _ => None,
    }
}

fn add_part(identity: &mut Identity, name: &str, prefix: &str, naming: Naming) {
    identity.parts.push(Part { name: name.to_owned(), prefix: prefix.to_owned(), naming });
}

fn add_others(identity: &mut Identity, encoders: &[TextEncoder], vae: Option<&Vae>) {
    for encoder in encoders {
        let role = encoder.role(identity.family);
        let taken = identity.parts.iter().any(|part| part.name == role);
        if !taken {
            add_part(identity, role, &encoder.prefix, encoder.naming);
        }
        identity.why.push(encoder.seen());
    }
    if let Some(vae) = vae {
        add_part(identity, "vae", &vae.prefix, vae.naming);
        identity.why.push(vae.seen());
    }
}

fn missing(identity: &mut Identity) {
    let needs = identity.family.map_or(&[][..], Family::needs);
    let has = |name: &str| identity.parts.iter().any(|part| part.name == name);
    identity.missing = needs.iter().filter(|name| !has(name)).map(|name| (*name).to_owned()).collect();
}

/// What the network predicts: keys that trainers leave, then notes, then what the family always does.
fn predict(identity: &mut Identity, names: &Names<'_>, notes: &BTreeMap<&str, &str>) {
    let note = |key: &str| notes.get(key).copied().unwrap_or_default().to_ascii_lowercase();
    identity.zero_terminal_snr = names.has("ztsnr");
    let (declared, architecture) = (note("modelspec.prediction_type"), note("modelspec.architecture"));
    let is_edm = names.has("edm_mean") || names.has("edm_std") || names.has("edm_vpred.sigma_max");
    let (prediction, reason) = if is_edm {
        (Some(Prediction::Edm), "it has EDM's keys")
    } else if names.has("v_pred") {
        (Some(Prediction::V), "it has the key v_pred")
    } else if declared.starts_with('v') || architecture.contains("768-v") {
        (Some(Prediction::V), "its metadata say it predicts v")
    } else if declared.starts_with("eps") {
        (Some(Prediction::Epsilon), "its metadata say it predicts noise")
    } else {
        match (identity.family, identity.variant, identity.edition.as_deref()) {
            (Some(Family::Sd2), Variant::Upscale, _) => (Some(Prediction::V), "as the upscaler of SD 2 does"),
            (Some(Family::Sd2), Variant::Normal, None) => match note("global_step").as_str() {
                "220000" | "875000" => (Some(Prediction::Epsilon), "its step is that of SD 2 at 512 pixels"),
                "110000" | "140000" => (Some(Prediction::V), "its step is that of SD 2 at 768 pixels"),
                _ => (None, "whether it predicts noise or v, as both are of SD 2, nothing in it tells"),
            },
            (Some(Family::Sd1 | Family::Sd2 | Family::Sdxl | Family::SdxlRefiner), ..) => {
                (Some(Prediction::Epsilon), "")
            }
            _ => return,
        }
    };
    identity.prediction = prediction;
    if !reason.is_empty() {
        identity.why.push(reason.to_owned());
    }
}

/// What a trainer noted decides between families that look alike.
fn with_base(mut lora: Identity, notes: &BTreeMap<&str, &str>) -> Identity {
    if lora.family.is_some() {
        return lora;
    }
    let base = ["ss_base_model_version", "modelspec.architecture"].iter().find_map(|key| {
        let note = notes.get(key)?.to_ascii_lowercase();
        let families = [
            ("xl", Family::Sdxl),
            ("v1", Family::Sd1),
            ("v2", Family::Sd2),
            ("flux1", Family::Flux1),
            ("flux-1", Family::Flux1),
            ("v3", Family::Sd3),
            ("chroma", Family::Chroma),
        ];
        // `sdxl_base_v1-0`: the longer sign comes first.
        let found = families.iter().find(|(sign, _)| note.contains(sign))?;
        Some((found.1, format!("{key} says `{}`", note.chars().take(60).collect::<String>())))
    });
    if let Some((family, reason)) = base
        && (lora.candidates.is_empty() || lora.candidates.contains(&family))
    {
        lora.family = Some(family);
        lora.candidates.clear();
        lora.why.push(reason);
    }
    lora
}

fn upscaler(names: &Names<'_>) -> Option<Identity> {
    let (signature, prefix) = denoiser::first_match(names, UPSCALERS)?;
    let mut identity = Identity { kind: signature.kind, confidence: Confidence::Certain, ..Identity::unknown() };
    identity.edition = signature.edition.map(str::to_owned);
    identity.naming = Some(signature.naming);
    let first = signature.keys.first().map_or("", |key| key.name);
    identity.why.push(format!("it has {prefix}{first} and the other names of this upscaler"));
    Some(identity)
}

/// Autoencoders and text encoders without a diffusion network.
fn parts_alone(names: &Names<'_>, notes: &BTreeMap<&str, &str>) -> Option<Identity> {
    let encoders = encoder::text_encoders(names);
    let vae = encoder::vae(names);
    let mut identity = Identity { confidence: Confidence::Certain, ..Identity::unknown() };
    let families = vae.as_ref().map(|vae| vae.families(names));
    match (encoders.as_slice(), &vae) {
        ([], None) => {
            if let Some(channels) = encoder::tiny_vae(names) {
                identity.kind = Kind::Vae;
                identity.edition = Some("taesd".to_owned());
                identity.naming = Some(Naming::Own);
                identity.why.push(format!("a tiny autoencoder of {channels} latent channels"));
                let all: &[Family] = if channels == 4 {
                    &[Family::Sd1, Family::Sd2, Family::Sdxl]
                } else {
                    &[Family::Flux1, Family::Sd3]
                };
                return Some(identity.of(all));
            }
            let prefix = encoder::image_encoder(names)?;
            identity.kind = Kind::ImageEncoder;
            identity.naming = Some(Naming::Transformers);
            identity.why.push(format!("it sees pictures: {prefix}vision_model"));
            return Some(identity);
        }
        ([], Some(vae)) => {
            identity.kind = Kind::Vae;
            identity.naming = Some(vae.naming);
        }
        ([first, ..], None) => {
            identity.kind = Kind::TextEncoder;
            identity.naming = Some(first.naming);
            if encoders.len() == 1 {
                identity.edition = first.edition().map(str::to_owned);
            }
        }
        ([first, ..], Some(_)) => {
            identity.kind = Kind::Checkpoint;
            identity.naming = Some(first.naming);
            identity.why.push("a checkpoint without its diffusion network".to_owned());
        }
    }
    // What all parts have in common.
    let mut common: Vec<Family> = families.unwrap_or_default().to_vec();
    for (index, encoder) in encoders.iter().enumerate() {
        if index == 0 && vae.is_none() {
            common = encoder.families().to_vec();
        } else {
            common.retain(|family| encoder.families().contains(family));
        }
    }
    add_others(&mut identity, &encoders, vae.as_ref());
    if common.len() > 1 {
        let architecture = notes.get("modelspec.architecture").copied().unwrap_or_default();
        let declared = if architecture.contains("xl") {
            Some(Family::Sdxl)
        } else if architecture.contains("v1") {
            Some(Family::Sd1)
        } else if architecture.contains("flux") {
            Some(Family::Flux1)
        } else {
            None
        };
        if let Some(family) = declared.filter(|family| common.contains(family)) {
            identity
                .why
                .push(format!("modelspec.architecture says `{}`", architecture.chars().take(60).collect::<String>()));
            common = vec![family];
        } else {
            let listed: Vec<&str> = common.iter().map(|family| family.name()).collect();
            identity.why.push(format!("nothing in it tells which of {} it is for; name the family", listed.join(", ")));
            identity.confidence = Confidence::Likely;
        }
    }
    if common.is_empty() {
        identity.confidence = Confidence::Likely;
        identity.why.push("its measures are of no family that is known".to_owned());
    }
    Some(identity.of(&common))
}

/// An answer for what fits nothing: the families some of whose names it has.
fn unknown(names: &Names<'_>) -> Identity {
    let mut identity = Identity::unknown();
    let mut near: Vec<(usize, usize, Family)> = Vec::new();
    for signature in TRANSFORMERS {
        let Some(family) = signature.family else { continue };
        let all = signature.keys.len();
        let found = PREFIXES
            .iter()
            .map(|prefix| signature.keys.iter().filter(|key| denoiser::matches(names, prefix, key)).count())
            .max()
            .unwrap_or(0);
        if found > 0 {
            near.push((found * 100 / all, all, family));
        }
    }
    for (families, signs) in UNET_SIGNS {
        let found = signs.iter().filter(|sign| names.iter().any(|name| name.contains(*sign))).count();
        if found > 0 {
            near.extend(families.iter().map(|family| (found * 100 / signs.len(), signs.len(), *family)));
        }
    }
    near.sort_by_key(|(share, signs, _)| Reverse((*share, *signs)));
    for (share, _, family) in near {
        if !identity.candidates.contains(&family) && identity.candidates.len() < 3 {
            identity.candidates.push(family);
            identity.why.push(format!("it has {share} % of what tells {family}"));
        }
    }
    if identity.candidates.is_empty() {
        let some: Vec<String> = names.iter().take(3).map(|name| name.chars().take(60).collect()).collect();
        identity.why.push(format!("none of its {} tensors is of a known model: {}", names.len(), some.join(", ")));
    }
    identity
}

/// Names that UNets have, for the nearest families of what is not whole.
const UNET_SIGNS: &[(&[Family], &[&str])] = &[
    (&[Family::Sdxl], &["input_blocks.", "time_embed.", "middle_block.", "label_emb."]),
    (&[Family::Sd1, Family::Sd2], &["input_blocks.", "time_embed.", "middle_block.", "output_blocks."]),
    (&[Family::Sdxl], &["down_blocks.", "time_embedding.", "mid_block.", "add_embedding."]),
    (&[Family::Sd1, Family::Sd2], &["down_blocks.", "time_embedding.", "mid_block.", "up_blocks."]),
];
