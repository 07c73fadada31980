//! Networks that already have the names of diffusers and transformers, and of diffusers' first years.

use super::sgm_vae::attention_form;
use super::walk::replaced;
use super::{Form, Mapped, Shapes};

pub(super) const UNET: [&str; 10] = [
    "conv_in.",
    "time_embedding.",
    "add_embedding.",
    "class_embedding.",
    "encoder_hid_proj.",
    "down_blocks.",
    "mid_block.",
    "up_blocks.",
    "conv_norm_out.",
    "conv_out.",
];

pub(super) const FLUX: [&str; 7] = [
    "x_embedder.",
    "context_embedder.",
    "time_text_embed.",
    "transformer_blocks.",
    "single_transformer_blocks.",
    "norm_out.",
    "proj_out.",
];

pub(super) const T5: [&str; 2] = ["shared.", "encoder."];

/// The tensors of these places, as they are.
pub(super) fn map(names: &Shapes, places: &[&str]) -> Vec<Mapped> {
    let is_ours = |name: &&String| places.iter().any(|place| name.starts_with(place));
    names.keys().filter(is_ours).map(|name| Mapped::whole(name, name)).collect()
}

/// An attention's projections before diffusers 0.17.
const OLD_ATTENTION: [(&str, &str); 4] =
    [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

/// What a tensor of an autoencoder is called today, and how it comes out of what is written.
pub fn vae_of_today(name: &str, shape: &[u64]) -> (String, Form) {
    const PLACE: &str = ".attentions.0.";
    let renamed = name
        .split_once(PLACE)
        .and_then(|(before, inner)| Some(format!("{before}{PLACE}{}", replaced(inner, &OLD_ATTENTION)?)));
    let name = renamed.unwrap_or_else(|| name.to_owned());
    let form = attention_form(&name, shape);
    (name, form)
}

pub(super) fn map_vae(names: &Shapes) -> Vec<Mapped> {
    let is_ours = |name: &str| {
        ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."].iter().any(|place| name.starts_with(place))
    };
    let ours = names.iter().filter(|(name, _)| is_ours(name));
    ours.map(|(name, shape)| {
        let (target, form) = vae_of_today(name, shape);
        Mapped::new(target, name, form)
    })
    .collect()
}
