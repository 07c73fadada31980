//! Which networks a file holds, by the names that only they have, and in whose naming. What stands in front of those
//! names is the network's prefix, whatever it is: `model.diffusion_model.`, `text_encoders.clip_l.transformer.`, nothing.

use super::Shapes;

/// What a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// The UNet of Stable Diffusion.
    UNet,
    /// FLUX's transformer.
    Flux,
    /// An autoencoder of pictures.
    Vae,
    /// The text half of CLIP.
    Clip,
    /// T5's encoder.
    T5,
}

impl Network {
    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::UNet => "a UNet",
            Self::Flux => "a FLUX transformer",
            Self::Vae => "a VAE",
            Self::Clip => "a CLIP text encoder",
            Self::T5 => "a T5 text encoder",
        }
    }
}

/// Whose names are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Naming {
    /// CompVis' latent diffusion and Stability's generative models.
    SgmUNet,
    /// diffusers.
    DiffusersUNet,
    /// Black Forest Labs.
    Bfl,
    /// diffusers.
    DiffusersFlux,
    /// CompVis' latent diffusion.
    SgmVae,
    /// diffusers.
    DiffusersVae,
    /// transformers.
    Clip,
    /// OpenCLIP.
    OpenClip,
    /// transformers.
    T5,
}

/// A network in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is.
    pub network: Network,
    /// How its tensors are called.
    pub naming: Naming,
    /// What stands before all their names.
    pub prefix: String,
}

/// Names by which a network is known: all of them are there, after the same prefix.
struct Mark {
    network: Network,
    naming: Naming,
    names: &'static [&'static str],
}

/// The first of the names finds the prefix. A `ControlNet` has a UNet's names but no way out; FLUX's kin share most of
/// FLUX's names but not all of these.
const MARKS: [Mark; 9] = [
    Mark {
        network: Network::UNet,
        naming: Naming::SgmUNet,
        names: &["input_blocks.0.0.weight", "time_embed.0.weight", "out.2.weight"],
    },
    Mark {
        network: Network::UNet,
        naming: Naming::DiffusersUNet,
        names: &["time_embedding.linear_1.weight", "conv_in.weight", "conv_out.weight"],
    },
    Mark {
        network: Network::Flux,
        naming: Naming::Bfl,
        names: &["vector_in.in_layer.weight", "img_in.weight", "txt_in.weight", "final_layer.linear.weight"],
    },
    Mark {
        network: Network::Flux,
        naming: Naming::DiffusersFlux,
        names: &[
            "time_text_embed.text_embedder.linear_1.weight",
            "x_embedder.weight",
            "context_embedder.weight",
            "norm_out.linear.weight",
        ],
    },
    Mark {
        network: Network::Vae,
        naming: Naming::SgmVae,
        names: &["decoder.mid.block_1.norm1.weight", "decoder.conv_in.weight"],
    },
    Mark {
        network: Network::Vae,
        naming: Naming::DiffusersVae,
        names: &["decoder.mid_block.resnets.0.norm1.weight", "decoder.conv_in.weight"],
    },
    Mark {
        network: Network::Clip,
        naming: Naming::Clip,
        names: &["embeddings.token_embedding.weight", "embeddings.position_embedding.weight"],
    },
    Mark {
        network: Network::Clip,
        naming: Naming::OpenClip,
        names: &["token_embedding.weight", "positional_embedding", "transformer.resblocks.0.attn.in_proj_weight"],
    },
    Mark {
        network: Network::T5,
        naming: Naming::T5,
        names: &["encoder.block.0.layer.0.SelfAttention.q.weight", "encoder.final_layer_norm.weight"],
    },
];

/// The networks of a file in the order of their names.
pub fn sections(names: &Shapes) -> Vec<Section> {
    let mut found = Vec::new();
    for name in names.keys() {
        for mark in &MARKS {
            let Some((first, others)) = mark.names.split_first() else { continue };
            let Some(prefix) = name.strip_suffix(first) else { continue };
            let begins = prefix.is_empty() || prefix.ends_with('.');
            if begins && others.iter().all(|other| names.contains_key(&format!("{prefix}{other}"))) {
                // What lies around a CLIP's `text_model.` belongs to it: its projection.
                let around = prefix.strip_suffix("text_model.").filter(|_| mark.naming == Naming::Clip);
                let prefix = around.unwrap_or(prefix);
                found.push(Section { network: mark.network, naming: mark.naming, prefix: prefix.to_owned() });
            }
        }
    }
    found.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    found
}
