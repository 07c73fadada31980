//! ControlNets: half a network with an embedding of the control picture.

use super::Identity;
use super::names::Names;
use super::unet::{self, Unet};
use super::words::{Confidence, Family, Kind, Naming};

/// Prefixes under which a ControlNet may stand.
const PREFIXES: [&str; 4] = ["control_model.", "controlnet.", "module.", ""];

/// Tells what ControlNet this is, if it is one.
pub(super) fn identify(names: &Names<'_>) -> Option<Identity> {
    let mut identity = Identity { kind: Kind::ControlNet, confidence: Confidence::Certain, ..Identity::unknown() };
    if names.has("lora_controlnet") {
        identity.edition = Some("control-lora".to_owned());
        identity.naming = Some(Naming::CompVis);
        identity.why.push("it has lora_controlnet".to_owned());
        return Some(with_unet(identity, unet_of(names, "").as_ref()));
    }
    PREFIXES.iter().find_map(|prefix| at(names, prefix, identity.clone()))
}

fn at(names: &Names<'_>, prefix: &'static str, mut identity: Identity) -> Option<Identity> {
    let has = |name: &str| names.has_in(prefix, name);
    let is_flux = has("double_blocks.0.img_attn.qkv.weight") && has("pos_embed_input.weight");
    if has("input_hint_block.0.weight") && is_flux {
        identity.naming = Some(Naming::Own);
        identity.why.push("it has input_hint_block beside FLUX's blocks (XLabs)".to_owned());
        identity.family = Some(Family::Flux1);
        return Some(identity);
    }
    if has("controlnet_blocks.0.weight") || has("controlnet_x_embedder.weight") {
        identity.naming = Some(Naming::Diffusers);
        identity.why.push("it has controlnet_blocks beside a transformer".to_owned());
        // The blocks of FLUX normalise the queries of the text; those of SD 3 do not, and embed positions.
        let is_flux = has("single_transformer_blocks.0.attn.norm_q.weight")
            || has("transformer_blocks.0.attn.norm_added_k.weight") && !has("pos_embed.proj.weight");
        let family = if is_flux { Some(Family::Flux1) } else { has("pos_embed.proj.weight").then_some(Family::Sd3) };
        if has("controlnet_mode_embedder.weight") || has("union.task_embedding") {
            identity.edition = Some("union".to_owned());
        }
        if family.is_none() {
            identity.candidates = vec![Family::Flux1, Family::Sd3];
            identity.confidence = Confidence::Likely;
        }
        identity.family = family;
        return Some(identity);
    }
    if has("input_hint_block.0.weight") {
        identity.naming = Some(Naming::CompVis);
        identity.why.push(format!("it has {prefix}input_hint_block"));
    } else if has("controlnet_cond_embedding.conv_in.weight") {
        identity.naming = Some(Naming::Diffusers);
        identity.why.push(format!("it has {prefix}controlnet_cond_embedding"));
    } else {
        return None;
    }
    if has("task_embedding") || has("control_add_embedding.linear_1.weight") {
        identity.edition = Some("union".to_owned());
    }
    if names.has_prefix("model.diffusion_model.") {
        identity.why.push("a whole model stands beside it".to_owned());
    }
    Some(with_unet(identity, unet_of(names, prefix).as_ref()))
}

fn unet_of(names: &Names<'_>, prefix: &'static str) -> Option<Unet> {
    unet::at(names, prefix, false)
}

fn with_unet(mut identity: Identity, unet: Option<&Unet>) -> Identity {
    let Some(unet) = unet else {
        identity.candidates = vec![Family::Sd1, Family::Sd2, Family::Sdxl];
        identity.confidence = Confidence::Likely;
        return identity;
    };
    identity.why.push(unet.seen());
    if let Some((family, _)) = unet.family() {
        identity.family = Some(family);
    } else {
        identity.candidates = unet.nearest();
        identity.confidence = Confidence::Likely;
    }
    identity
}
