//! The parts beside the diffusion network: text encoders, image encoders, autoencoders, wherever in the file they stand.

use super::names::Names;
use super::words::{Family, Naming};

/// A text encoder.
pub(super) struct TextEncoder {
    pub prefix: String,
    pub naming: Naming,
    pub sort: Sort,
    pub width: u64,
    pub layers: u64,
}

/// Of which architecture a text encoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Clip,
    T5,
    /// A language model, as newer families have.
    Language,
}

/// An autoencoder.
pub(super) struct Vae {
    pub prefix: String,
    pub naming: Naming,
    pub latent_channels: u64,
    pub is_of_video: bool,
}

/// All text encoders, by prefix.
pub(super) fn text_encoders(names: &Names<'_>) -> Vec<TextEncoder> {
    let mut found = Vec::new();
    for prefix in names.prefixes_of("embeddings.token_embedding.weight") {
        let width = names.axis(prefix, "embeddings.token_embedding.weight", 1);
        let layers = names.count(&format!("{prefix}encoder.layers."));
        let whole = prefix.strip_suffix("text_model.").unwrap_or(prefix);
        found.extend(encoder(whole, Naming::Transformers, Sort::Clip, width, layers));
    }
    for prefix in names.prefixes_of("transformer.resblocks.0.attn.in_proj_weight") {
        let width = names.axis(prefix, "transformer.resblocks.0.attn.in_proj_weight", 1);
        let layers = names.count(&format!("{prefix}transformer.resblocks."));
        // The other half of an OpenCLIP model sees pictures.
        if !prefix.ends_with("visual.") {
            found.extend(encoder(prefix, Naming::OpenClip, Sort::Clip, width, layers));
        }
    }
    for prefix in names.prefixes_of("encoder.block.0.layer.0.SelfAttention.q.weight") {
        let width = names.axis(prefix, "encoder.block.0.layer.0.SelfAttention.q.weight", 1);
        let layers = names.count(&format!("{prefix}encoder.block."));
        found.extend(encoder(prefix, Naming::Transformers, Sort::T5, width, layers));
    }
    for prefix in names.prefixes_of("layers.0.self_attn.q_proj.weight") {
        if names.has_in(prefix, "layers.0.mlp.gate_proj.weight") && names.has_in(prefix, "embed_tokens.weight") {
            let width = names.axis(prefix, "embed_tokens.weight", 1);
            let layers = names.count(&format!("{prefix}layers."));
            found.extend(encoder(prefix, Naming::Transformers, Sort::Language, width, layers));
        }
    }
    found
}

fn encoder(prefix: &str, naming: Naming, sort: Sort, width: Option<u64>, layers: u64) -> Option<TextEncoder> {
    Some(TextEncoder { prefix: prefix.to_owned(), naming, sort, width: width?, layers })
}

impl TextEncoder {
    /// The name of the model, where it is a published one.
    pub fn edition(&self) -> Option<&'static str> {
        Some(match (self.sort, self.width) {
            (Sort::Clip, 768) => "clip-l",
            (Sort::Clip, 1024) => "openclip-h",
            (Sort::Clip, 1280) => "openclip-bigg",
            (Sort::T5, 4096) => "t5-xxl",
            (Sort::T5, 2048) => "t5-xl",
            _ => return None,
        })
    }

    /// The families that use such an encoder.
    pub fn families(&self) -> &'static [Family] {
        match (self.sort, self.width) {
            (Sort::Clip, 768) => &[Family::Sd1, Family::Sdxl, Family::Flux1, Family::Sd3],
            (Sort::Clip, 1024) => &[Family::Sd2],
            (Sort::Clip, 1280) => &[Family::Sdxl, Family::SdxlRefiner, Family::Sd3],
            (Sort::T5, 4096) => &[Family::Flux1, Family::Sd3, Family::Chroma],
            (Sort::Language, _) => &[Family::Flux2],
            _ => &[],
        }
    }

    /// What diffusers calls it in a pipeline of this family.
    pub fn role(&self, family: Option<Family>) -> &'static str {
        let second = match family {
            Some(Family::Sdxl) => self.prefix.contains("embedders.1.") || (!self.is_first() && self.width == 1280),
            Some(Family::SdxlRefiner) => true,
            Some(Family::Sd3) if self.sort == Sort::T5 => return "text_encoder_3",
            Some(Family::Sd3) => self.prefix.contains("clip_g") || self.width == 1280,
            Some(Family::Flux1) => self.sort == Sort::T5,
            _ => false,
        };
        if second { "text_encoder_2" } else { "text_encoder" }
    }

    fn is_first(&self) -> bool {
        self.prefix.contains("embedders.0.")
    }

    pub fn seen(&self) -> String {
        let sort = match self.sort {
            Sort::Clip => "CLIP",
            Sort::T5 => "T5",
            Sort::Language => "language",
        };
        format!("a {sort} text encoder of {} layers and width {} at `{}`", self.layers, self.width, self.prefix)
    }
}

/// The first autoencoder of a file.
pub(super) fn vae(names: &Names<'_>) -> Option<Vae> {
    names.prefixes_of("decoder.conv_in.weight").find_map(|prefix| {
        let naming = if names.has_in(prefix, "decoder.mid.block_1.norm1.weight") {
            Naming::CompVis
        } else if names.has_in(prefix, "decoder.mid_block.resnets.0.norm1.weight") {
            Naming::Diffusers
        } else {
            return None;
        };
        let shape = names.shape(prefix, "decoder.conv_in.weight");
        let latent_channels = *shape.get(1)?;
        Some(Vae { prefix: prefix.to_owned(), naming, latent_channels, is_of_video: shape.len() == 5 })
    })
}

/// An autoencoder of the tiny kind (TAESD), and its latent channels.
pub(super) fn tiny_vae(names: &Names<'_>) -> Option<u64> {
    names
        .axis("", "decoder.1.weight", 1)
        .or_else(|| names.axis("taesd_decoder.", "1.weight", 1))
        .or_else(|| names.axis("decoder.layers.", "0.weight", 1))
        .filter(|channels| {
            let convolves = names.has("decoder.3.conv.0.weight")
                || names.has("taesd_decoder.3.conv.0.weight")
                || names.has("decoder.layers.2.conv.0.weight");
            convolves && matches!(channels, 4 | 16)
        })
}

impl Vae {
    /// The families with such latents; 4 channels are SD 1's, SD 2's and SDXL's alike.
    pub fn families(&self, names: &Names<'_>) -> &'static [Family] {
        match self.latent_channels {
            _ if self.is_of_video => &[Family::Other("wan"), Family::Other("qwen_image")],
            4 => &[Family::Sd1, Family::Sd2, Family::Sdxl],
            16 => &[Family::Flux1, Family::Sd3],
            32 => &[Family::Flux2],
            _ if names.has_in(&self.prefix, "bn.running_mean") => &[Family::Flux2],
            _ => &[],
        }
    }

    pub fn seen(&self) -> String {
        format!("an autoencoder of {} latent channels at `{}`", self.latent_channels, self.prefix)
    }
}

/// Whether there is an encoder of pictures.
pub(super) fn image_encoder(names: &Names<'_>) -> Option<String> {
    let found = names.prefixes_of("vision_model.embeddings.class_embedding").next();
    found.or_else(|| names.prefixes_of("visual.class_embedding").next()).map(str::to_owned)
}
