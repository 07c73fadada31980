//! UNets by their measures, in CompVis' and in diffusers' names.

use super::names::Names;
use super::signatures::{PREFIXES, UNETS};
use super::words::{Family, Naming, Variant};

/// What can be measured of a UNet, or of the half of one that a ControlNet is.
pub(super) struct Unet {
    pub prefix: &'static str,
    pub naming: Naming,
    pub in_channels: u64,
    pub out_channels: Option<u64>,
    pub channels: u64,
    /// The width of the text that it attends to; `None` without cross-attention.
    pub cross: Option<u64>,
    /// What the extra embedding takes.
    pub adm: Option<u64>,
    /// Whether attention projects with linear layers.
    pub is_linear: bool,
    /// Transformer layers in the deepest block, and whether the middle has any.
    pub depth: u64,
    pub has_middle_attention: bool,
    /// Whether it has layers along time: a network for video.
    pub is_of_video: bool,
}

/// Names of one spelling: what must be there, and where the measures are.
struct Spelling {
    naming: Naming,
    conv_in: &'static str,
    time: &'static str,
    middle: &'static str,
    out: &'static str,
    adm: &'static [&'static str],
    middle_attention: &'static str,
}

const SPELLINGS: [Spelling; 2] = [
    Spelling {
        naming: Naming::CompVis,
        conv_in: "input_blocks.0.0.weight",
        time: "time_embed.0.weight",
        middle: "middle_block.0.in_layers.0.weight",
        out: "out.2.weight",
        adm: &["label_emb.0.0.weight"],
        middle_attention: "middle_block.1.transformer_blocks.",
    },
    Spelling {
        naming: Naming::Diffusers,
        conv_in: "conv_in.weight",
        time: "time_embedding.linear_1.weight",
        middle: "mid_block.resnets.0.norm1.weight",
        out: "conv_out.weight",
        adm: &["add_embedding.linear_1.weight", "class_embedding.linear_1.weight"],
        middle_attention: "mid_block.attentions.0.transformer_blocks.",
    },
];

/// What layers along time are called (Stable Video Diffusion, `AnimateDiff`).
const VIDEO: [&str; 4] = [".time_stack.", ".time_mixer.", ".temporal_transformer_blocks.", "motion_modules."];

/// Finds a whole UNet.
pub(super) fn whole(names: &Names<'_>) -> Option<Unet> {
    PREFIXES.iter().find_map(|prefix| at(names, prefix, true))
}

/// Finds a UNet, or its first half, under this prefix.
pub(super) fn at(names: &Names<'_>, prefix: &'static str, whole: bool) -> Option<Unet> {
    SPELLINGS.iter().find_map(|spelling| measure(names, prefix, spelling, whole))
}

fn measure(names: &Names<'_>, prefix: &'static str, spelling: &Spelling, whole: bool) -> Option<Unet> {
    let [channels, in_channels, ..] = *names.shape(prefix, spelling.conv_in) else { return None };
    let has = |name: &str| names.has_in(prefix, name);
    if !has(spelling.time) || !has(spelling.middle) || (whole && !has(spelling.out)) {
        return None;
    }
    // A convolution of three axes or five is of sound or video.
    if names.shape(prefix, spelling.conv_in).len() != 4 {
        return None;
    }
    let cross = names.ending(prefix, ".attn2.to_k.weight").and_then(|(_, shape)| shape.last().copied());
    let proj = names.with_prefix(prefix).find(|name| name.ends_with(".proj_in.weight"));
    let depth = names.with_prefix(prefix).filter_map(layer).max().map_or(0, |highest| highest.saturating_add(1));
    Some(Unet {
        prefix,
        naming: spelling.naming,
        in_channels,
        out_channels: names.axis(prefix, spelling.out, 0),
        channels,
        cross,
        adm: spelling.adm.iter().find_map(|name| names.axis(prefix, name, 1)),
        is_linear: proj.is_some_and(|name| names.shape("", name).len() == 2),
        depth,
        is_of_video: names.with_prefix(prefix).any(|name| VIDEO.iter().any(|part| name.contains(part))),
        has_middle_attention: names.has_prefix(&format!("{prefix}{}", spelling.middle_attention)),
    })
}

/// The number of a transformer layer in its block.
fn layer(name: &str) -> Option<u64> {
    let (_, rest) = name.split_once(".transformer_blocks.")?;
    rest.split('.').next()?.parse().ok()
}

impl Unet {
    /// The family whose measures these are, with the edition.
    pub fn family(&self) -> Option<(Family, Option<&'static str>)> {
        if self.is_of_video {
            return Some((Family::Other("video_unet"), None));
        }
        let row = UNETS.iter().find(|row| {
            let adm = self.adm.map_or(row.adm.is_empty(), |adm| row.adm.contains(&adm));
            self.cross == Some(row.cross) && row.channels.contains(&self.channels) && adm
        })?;
        let pruned = match (row.family, self.depth, self.has_middle_attention) {
            (Family::Sdxl, 10, _) => None,
            (Family::Sdxl, 4, false) => Some("ssd-1b"),
            (Family::Sdxl, 2, _) => Some("segmind-vega"),
            (Family::Sdxl, _, _) => Some("pruned"),
            _ => None,
        };
        Some((row.family, row.edition.or(pruned)))
    }

    /// The families built alike, nearest first.
    pub fn nearest(&self) -> Vec<Family> {
        match (self.adm.is_some(), self.is_linear) {
            (true, _) => vec![Family::Sdxl, Family::SdxlRefiner],
            (false, false) => vec![Family::Sd1, Family::Sd2],
            (false, true) => vec![Family::Sd2, Family::Sd1],
        }
    }

    pub fn variant(&self) -> Variant {
        let own = self.out_channels.filter(|out| *out > 0).unwrap_or(4);
        // The channels of a tiny model's latents may be other than 4; the extra ones are what tells.
        match (self.in_channels, own) {
            (all, own) if all == own => Variant::Normal,
            (9, 4) => Variant::Inpaint,
            (8, 4) => Variant::InstructPix2Pix,
            (5, 4) => Variant::Depth,
            (7, 4) => Variant::Upscale,
            _ => Variant::Unusual,
        }
    }

    /// Says what was measured.
    pub fn seen(&self) -> String {
        let text = self.cross.map_or_else(|| "no text".to_owned(), |cross| format!("text of width {cross}"));
        let extra = self.adm.map_or_else(String::new, |adm| format!(", an extra embedding of {adm}"));
        format!("a UNet of {} input channels, first level {}, {text}{extra}", self.in_channels, self.channels)
    }
}
