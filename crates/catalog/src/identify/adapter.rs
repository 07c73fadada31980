//! Small things that change a model: embeddings, IP-Adapters, T2I-Adapters, hypernetworks.

use super::Identity;
use super::names::Names;
use super::words::{Confidence, Family, Kind, Naming};

/// More tensors than an embedding has.
const MAX_EMBEDDINGS: usize = 10;

/// An adapter for picture prompts.
pub(super) fn ip_adapter(names: &Names<'_>) -> Option<Identity> {
    let mut identity = Identity { kind: Kind::IpAdapter, confidence: Confidence::Certain, ..Identity::unknown() };
    identity.naming = Some(Naming::Own);
    if names.has_prefix("ip_adapter_proj_model.") {
        identity.why.push("it has ip_adapter_proj_model (XLabs)".to_owned());
        return Some(identity.of(&[Family::Flux1]));
    }
    if !names.has_prefix("ip_adapter.") || !(names.has_prefix("image_proj.") || names.has_prefix("ip_adapter.1.")) {
        return None;
    }
    let width = names.ending("ip_adapter.", "to_k_ip.weight").and_then(|(_, shape)| shape.last().copied());
    identity.why.push(format!("it has image_proj and ip_adapter, for text of width {}", width.unwrap_or(0)));
    Some(by_width(identity, width))
}

/// An adapter for control pictures.
pub(super) fn t2i_adapter(names: &Names<'_>) -> Option<Identity> {
    let diffusers = names.has("adapter.body.0.resnets.0.block1.weight") && names.has("adapter.conv_in.weight");
    let own = names.has("body.0.block1.weight") && names.has("conv_in.weight");
    if !diffusers && !own {
        return None;
    }
    let naming = if diffusers { Naming::Diffusers } else { Naming::Own };
    let mut identity = Identity { kind: Kind::T2iAdapter, confidence: Confidence::Likely, ..Identity::unknown() };
    identity.naming = Some(naming);
    // Those for SD unshuffle 8x8 pixels, those for SDXL 16x16.
    let input = names.axis("adapter.", "conv_in.weight", 1).or_else(|| names.axis("", "conv_in.weight", 1));
    identity.why.push(format!("it has an adapter's body, and takes {} channels", input.unwrap_or(0)));
    Some(match input {
        Some(64 | 192) => identity.of(&[Family::Sd1]),
        Some(256 | 768) => identity.of(&[Family::Sdxl]),
        _ => identity.of(&[Family::Sd1, Family::Sdxl]),
    })
}

/// An embedding of a word.
pub(super) fn textual_inversion(names: &Names<'_>) -> Option<Identity> {
    if names.len() == 0 || names.len() > MAX_EMBEDDINGS {
        return None;
    }
    let mut identity =
        Identity { kind: Kind::TextualInversion, confidence: Confidence::Certain, ..Identity::unknown() };
    identity.naming = Some(Naming::Own);
    if names.has("clip_l") && names.has("clip_g") {
        identity.why.push("it has clip_l and clip_g".to_owned());
        return Some(identity.of(&[Family::Sdxl]));
    }
    let (name, shape) = names
        .ending("string_to_param", "")
        .or_else(|| Some(("emb_params", names.tensor("emb_params")?.shape.as_slice())))
        .or_else(|| Some(("clip_l", names.tensor("clip_l")?.shape.as_slice())))
        .or_else(|| lone(names))?;
    let width = shape.last().copied();
    identity.why.push(format!("it has `{name}` of width {}", width.unwrap_or(0)));
    if let Some(1280) = width {
        return Some(identity.of(&[Family::Sdxl]));
    }
    Some(by_width(identity, width))
}

/// One tensor named for the word, of one or two axes, as wide as a text encoder.
fn lone<'f>(names: &Names<'f>) -> Option<(&'f str, &'f [u64])> {
    let name = names.iter().next().filter(|_| names.len() == 1)?;
    let shape = names.shape("", name);
    let is_vector = matches!(shape, [768 | 1024 | 1280] | [1..=128, 768 | 1024 | 1280]);
    let is_word = !name.contains('.') || name.starts_with('<');
    (is_vector && is_word).then_some((name, shape))
}

/// Layers by the widths they are for.
pub(super) fn hypernetwork(names: &Names<'_>) -> Option<Identity> {
    let widths: Vec<&str> = ["320", "640", "768", "1024", "1280"]
        .into_iter()
        .filter(|width| names.has_prefix(&format!("{width}.0.linear")))
        .collect();
    if widths.len() < 2 {
        return None;
    }
    let mut identity = Identity { kind: Kind::Hypernetwork, confidence: Confidence::Certain, ..Identity::unknown() };
    identity.naming = Some(Naming::Own);
    identity.why.push(format!("it has layers for the widths {}", widths.join(", ")));
    let family = if widths.contains(&"1024") { Family::Sd2 } else { Family::Sd1 };
    Some(identity.of(&[family]))
}

/// The family whose text has this width.
fn by_width(mut identity: Identity, width: Option<u64>) -> Identity {
    match width {
        Some(768) => identity.of(&[Family::Sd1]),
        Some(1024) => identity.of(&[Family::Sd2]),
        Some(2048) => identity.of(&[Family::Sdxl]),
        _ => {
            identity.confidence = Confidence::Likely;
            identity.of(&[Family::Sd1, Family::Sdxl])
        }
    }
}
