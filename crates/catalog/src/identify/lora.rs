//! LoRAs and their kin: how they are made, whose names they have, and which family they are for. The family is told by
//! the layers they name and by the width of what goes into those that take the text.

use super::Identity;
use super::names::Names;
use super::words::{Confidence, Family, Kind, Naming};

/// How the change of a layer is written: the end of a tensor's name, and what it is called. First match wins.
const ALGORITHMS: &[(&str, &str)] = &[
    (".hada_w1_a", "loha"),
    (".lokr_w1", "lokr"),
    (".lokr_w1_a", "lokr"),
    (".oft_blocks", "oft"),
    (".oft_diag", "oft"),
    (".oft_R.weight", "oft"),
    (".a1.weight", "glora"),
    (".on_input", "ia3"),
    (".lora_down.weight", "lora"),
    (".lora_A.weight", "lora"),
    (".lora_A.default.weight", "lora"),
    (".lora.down.weight", "lora"),
    ("_lora.down.weight", "lora"),
    (".qkv_lora1.down.weight", "lora"),
    (".lora_linear_layer.down.weight", "lora"),
    (".diff", "full"),
];
/// What a tensor's name ends with that has the inputs of a layer as its last axis.
const INPUTS: &[&str] = &[
    ".lora_down.weight",
    ".lora_A.weight",
    ".lora_A.default.weight",
    ".lora.down.weight",
    "_lora.down.weight",
    ".lora_linear_layer.down.weight",
    ".qkv_lora1.down.weight",
    ".qkv_lora2.down.weight",
    ".hada_w1_b",
    ".diff",
];
/// What begins the names of text encoders, first and second.
const FIRST_TEXT: &[&str] = &["lora_te_", "lora_te1_", "text_encoder.", "lora_prior_te_"];
const SECOND_TEXT: &[&str] = &["lora_te2_", "text_encoder_2."];

/// Tells what LoRA this is, if it is one.
pub(super) fn identify(names: &Names<'_>) -> Option<Identity> {
    let algorithm = ALGORITHMS.iter().find(|(ending, _)| names.iter().any(|name| name.ends_with(ending)))?.1;
    let is_dora = names.iter().any(|name| name.ends_with(".dora_scale") || name.contains("lora_magnitude_vector"));
    let mut identity = Identity { kind: Kind::Lora, confidence: Confidence::Certain, ..Identity::unknown() };
    identity.edition = Some(if is_dora && algorithm == "lora" { "dora" } else { algorithm }.to_owned());
    identity.naming = Some(naming(names));
    let (families, reason, confidence) = family(names);
    identity.why.push(reason);
    identity.confidence = confidence;
    Some(identity.of(&families))
}

fn naming(names: &Names<'_>) -> Naming {
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(test);
    if any(&|name| name.starts_with("lora_") || name.starts_with("lycoris_")) {
        Naming::Kohya
    } else if any(&|name| name.contains(".processor.") || name.ends_with("_lora.down.weight")) {
        if any(&|name| name.contains("qkv_lora")) { Naming::Own } else { Naming::Diffusers }
    } else if any(&|name| name.contains("double_blocks.") || name.contains("diffusion_model.")) {
        Naming::Bfl
    } else {
        Naming::Peft
    }
}

type Found = (Vec<Family>, String, Confidence);

fn certain(family: Family, reason: impl Into<String>) -> Found {
    (vec![family], reason.into(), Confidence::Certain)
}

fn likely(families: &[Family], reason: impl Into<String>) -> Found {
    (families.to_vec(), reason.into(), Confidence::Likely)
}

fn family(names: &Names<'_>) -> Found {
    let any = |part: &str| names.iter().any(|name| name.contains(part));
    // Names of layers are spelled with dots or with underscores.
    let layer = |dotted: &str| any(dotted) || any(&dotted.replace('.', "_"));
    if layer("distilled_guidance_layer") {
        return certain(Family::Chroma, "it changes distilled_guidance_layer");
    }
    if layer("double_stream_modulation_img") || layer("attn.to_qkv_mlp_proj") {
        return certain(Family::Flux2, "it changes layers that only FLUX.2 has");
    }
    if layer("double_blocks.") || layer("single_blocks.") || any("single_transformer_blocks") {
        return flux(names);
    }
    if layer("joint_blocks.") || layer("attn.add_k_proj") || layer("ff_context.") {
        let width = input(names, "attn_to_q").or_else(|| input(names, "attn.to_q")).or_else(|| input(names, "qkv"));
        return match width {
            Some(3072) => certain(Family::Flux1, "it changes transformer blocks of width 3072"),
            Some(width @ (1536 | 2432)) => certain(Family::Sd3, format!("it changes joint blocks of width {width}")),
            _ => likely(&[Family::Sd3, Family::Flux1], "it changes joint blocks"),
        };
    }
    if layer("blocks.0.cross_attn") || layer("blocks.0.self_attn") {
        return certain(Family::Other("wan"), "it changes cross_attn of blocks");
    }
    if layer("img_mod.1") || layer("txt_mod.1") {
        return certain(Family::Other("qwen_image"), "it changes img_mod");
    }
    unet(names)
}

/// FLUX by the width of its blocks; FLUX.2's small model shares FLUX.1's, but not that of its single blocks' output.
fn flux(names: &Names<'_>) -> Found {
    let single = output(names, "single_blocks", "linear1");
    if matches!(single, Some(27_648 | 36_864 | 55_296)) {
        return certain(Family::Flux2, "its single blocks are as wide as FLUX.2's");
    }
    let width = ["img_attn_qkv", "img_attn.qkv", "linear1", "attn.to_q", "attn_to_q", "proj_mlp", "qkv_lora"]
        .iter()
        .find_map(|layer| input(names, layer));
    match width {
        Some(3072) => certain(Family::Flux1, "it changes FLUX's blocks of width 3072"),
        Some(width @ (4096 | 6144)) => certain(Family::Flux2, format!("it changes FLUX's blocks of width {width}")),
        _ => likely(&[Family::Flux1], "it changes double or single blocks"),
    }
}

/// The UNets by the width of the text that their attention takes, then by what else is changed.
fn unet(names: &Names<'_>) -> Found {
    let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| names.has_prefix(prefix));
    if let Some(width) =
        ["attn2_to_k", "attn2.to_k", "attn2.processor.to_k"].iter().find_map(|layer| input(names, layer))
    {
        let reason = format!("its attn2.to_k takes text of width {width}");
        match width {
            768 => return certain(Family::Sd1, reason),
            1024 => return certain(Family::Sd2, reason),
            2048 => return certain(Family::Sdxl, reason),
            1280 => return likely(&[Family::SdxlRefiner, Family::Sdxl], reason),
            _ => {}
        }
    }
    if has(FIRST_TEXT) && has(SECOND_TEXT) {
        return certain(Family::Sdxl, "it changes two text encoders");
    }
    if has(SECOND_TEXT) {
        return likely(&[Family::Sdxl], "it changes a second text encoder");
    }
    let deep = names.iter().any(|name| {
        let rest = name.split_once("transformer_blocks_").or_else(|| name.split_once("transformer_blocks."));
        let number = rest.and_then(|(_, rest)| rest.split(['_', '.']).next()?.parse::<u64>().ok());
        number.is_some_and(|number| number >= 2)
    });
    if deep {
        return certain(Family::Sdxl, "it changes more than two transformer layers of a block, which only SDXL has");
    }
    let text = input(names, "self_attn_q_proj").or_else(|| input(names, "self_attn.q_proj"));
    match text {
        Some(768) if names.has_prefix("lora_te1_") => {
            likely(&[Family::Sdxl], "it changes the first of two text encoders")
        }
        Some(768) => likely(&[Family::Sd1], "it changes a text encoder of width 768"),
        Some(1024) => certain(Family::Sd2, "it changes a text encoder of width 1024"),
        Some(1280) => likely(&[Family::Sdxl], "it changes a text encoder of width 1280"),
        _ => likely(&[Family::Sd1, Family::Sd2, Family::Sdxl], "it changes layers that several UNets have"),
    }
}

/// The inputs of a layer whose name has this part.
fn input(names: &Names<'_>, layer: &str) -> Option<u64> {
    names.iter().filter(|name| name.contains(layer)).find_map(|name| {
        let shape = names.shape("", name);
        if INPUTS.iter().any(|ending| name.ends_with(ending)) {
            // A 1x1 convolution has two axes more.
            return shape.get(1).copied();
        }
        lokr_input(names, name)
    })
}

/// A Kronecker product has the product of both factors' inputs.
fn lokr_input(names: &Names<'_>, name: &str) -> Option<u64> {
    let stem = name.strip_suffix("lokr_w1").or_else(|| name.strip_suffix("lokr_w1_a"))?;
    let of = |whole: &str, part: &str| names.axis(stem, whole, 1).or_else(|| names.axis(stem, part, 1));
    of("lokr_w1", "lokr_w1_b")?.checked_mul(of("lokr_w2", "lokr_w2_b")?)
}

/// The outputs of a layer whose name has both parts.
fn output(names: &Names<'_>, block: &str, layer: &str) -> Option<u64> {
    let name = names.iter().find(|name| {
        let up = name.ends_with(".lora_up.weight") || name.ends_with(".lora_B.weight");
        up && name.contains(block) && name.contains(layer)
    })?;
    names.axis("", name, 0)
}
