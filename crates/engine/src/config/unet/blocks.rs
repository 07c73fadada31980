//! The blocks of a UNet from lists that say one thing for each level, from the outermost in.

use serde_json::Value;

use super::super::reader::{Reader, as_count};
use crate::Result;

/// One block on the way down or up.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockConfig {
    /// Width of its output.
    pub channels: i64,
    /// Resnets.
    pub resnets: usize,
    /// The transformers, one after each resnet, where the block attends.
    pub attention: Option<AttentionConfig>,
    /// Whether the picture is halved or doubled at its end.
    pub resamples: bool,
}

/// The middle block: a resnet, and where it attends a transformer and another resnet.
#[derive(Debug, Clone, PartialEq)]
pub struct MidConfig {
    /// Its width.
    pub channels: i64,
    /// What a resnet's output is divided by.
    pub scale: f64,
    /// The transformer between its resnets; only one depth.
    pub attention: Option<AttentionConfig>,
}

/// The transformers of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionConfig {
    /// Attention heads, which divide the block's width.
    pub heads: i64,
    /// Transformer blocks in the transformer after each resnet.
    pub depths: Vec<i64>,
    /// Width of the text states.
    pub text_dim: i64,
    /// Whether the projections around the transformer blocks are linear instead of 1×1 convolutions.
    pub linear_projection: bool,
    /// Whether the first attention looks at the text too, instead of at the picture.
    pub only_cross: bool,
    /// Whether attention is computed in single precision.
    pub upcast: bool,
}

pub(super) struct Blocks {
    pub down: Vec<BlockConfig>,
    pub mid: Option<MidConfig>,
    pub up: Vec<BlockConfig>,
}

const DOWN: [&str; 4] = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
const UP: [&str; 4] = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"];

/// The most resnets in a block. SDXL has 2; lists are made of this many entries before a weight is looked for.
const MOST_LAYERS: i64 = 1000;

/// What the config says for one level.
struct Level {
    channels: i64,
    layers: i64,
    heads: i64,
    text_dim: i64,
    only_cross: bool,
    depth: Depth,
}

/// Transformer blocks in the transformers of a level: the same in all, or one number for each.
#[derive(Debug, Clone)]
enum Depth {
    Same(i64),
    Each(Vec<i64>),
}

impl Depth {
    fn read(reader: &Reader<'_>, key: &str, value: &Value) -> Result<Self> {
        let depth = if let Value::Array(each) = value {
            each.iter().map(|depth| as_count(depth, 0)).collect::<Option<_>>().map(Self::Each)
        } else {
            as_count(value, 0).map(Self::Same)
        };
        depth.ok_or_else(|| reader.error(format!("{key} says {value} for a block, whole numbers are needed")))
    }

    /// One number for each of the block's transformers; what a list has more is never read.
    fn expand(&self, reader: &Reader<'_>, transformers: usize) -> Result<Vec<i64>> {
        match self {
            Self::Same(depth) => Ok(vec![*depth; transformers]),
            Self::Each(each) if each.len() >= transformers => Ok(each.iter().copied().take(transformers).collect()),
            Self::Each(each) => Err(reader.error(format!(
                "transformer_layers_per_block has {} numbers for a block with {transformers} transformers",
                each.len()
            ))),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, widths: &[i64]) -> Result<Blocks> {
    let down_types = block_types(reader, "down_block_types", &DOWN, widths.len())?;
    let up_types = block_types(reader, "up_block_types", &UP, widths.len())?;
    let levels = levels(reader, widths)?;
    let shared = Shared {
        linear_projection: reader.flag("use_linear_projection", false)?,
        upcast: reader.flag("upcast_attention", false)?,
    };
    let last = levels.len() - 1;

    let mut down = Vec::with_capacity(levels.len());
    for (i, (name, level)) in down_types.iter().zip(&levels).enumerate() {
        let attends = attends(reader, "down_block_types", name, ["CrossAttnDownBlock2D", "DownBlock2D"])?;
        down.push(block(reader, level, level.layers, &level.depth, attends, i != last, &shared)?);
    }
    let mid = match levels.last() {
        Some(level) => mid(reader, level, &shared)?,
        None => None,
    };
    let up_depths = up_depths(reader, &levels)?;
    let mut up = Vec::with_capacity(levels.len());
    for (i, ((name, level), depth)) in up_types.iter().zip(levels.iter().rev()).zip(up_depths).enumerate() {
        let attends = attends(reader, "up_block_types", name, ["CrossAttnUpBlock2D", "UpBlock2D"])?;
        up.push(block(reader, level, level.layers + 1, &depth, attends, i != last, &shared)?);
    }
    Ok(Blocks { down, mid, up })
}

/// What all transformers share.
struct Shared {
    linear_projection: bool,
    upcast: bool,
}

fn block_types<'a>(
    reader: &mut Reader<'a>,
    key: &'a str,
    default: &[&'static str],
    levels: usize,
) -> Result<Vec<&'a str>> {
    let types = reader.texts(key, default)?;
    if types.len() == levels {
        return Ok(types);
    }
    Err(reader.error(format!(
        "{key} has {} entries and block_out_channels {levels}; one for each block is needed",
        types.len()
    )))
}

/// Whether a block of this name attends. Names from before diffusers have `UNetRes` in front.
fn attends(reader: &Reader<'_>, key: &str, name: &str, [attending, plain]: [&str; 2]) -> Result<bool> {
    match name.strip_prefix("UNetRes").unwrap_or(name) {
        name if name == attending => Ok(true),
        name if name == plain => Ok(false),
        name => Err(reader.error(format!("{name} in {key} is not supported, only {attending} and {plain}"))),
    }
}

fn levels(reader: &mut Reader<'_>, widths: &[i64]) -> Result<Vec<Level>> {
    let n = widths.len();
    let layers = reader.counts_per_level("layers_per_block", n, 2, 1)?;
    if layers.iter().any(|&layers| layers > MOST_LAYERS) {
        return Err(reader.unsupported("layers_per_block", format!("at most {MOST_LAYERS} are possible")));
    }
    let heads = reader.counts_per_level("attention_head_dim", n, 8, 1)?;
    let text_dims = reader.counts_per_level("cross_attention_dim", n, 1280, 1)?;
    let key = "transformer_layers_per_block";
    let depths = match reader.per_level(key, n)? {
        None => vec![Depth::Same(1); n],
        Some(values) => values.into_iter().map(|value| Depth::read(reader, key, value)).collect::<Result<_>>()?,
    };
    let only_cross = reader
        .per_level("only_cross_attention", n)?
        .unwrap_or_default()
        .into_iter()
        .map(Value::as_bool)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| reader.unsupported("only_cross_attention", "true or false is needed"))?;
    let only_cross = only_cross.into_iter().chain(std::iter::repeat(false));
    Ok(widths
        .iter()
        .zip(layers)
        .zip(heads)
        .zip(text_dims)
        .zip(depths)
        .zip(only_cross)
        .map(|(((((&channels, layers), heads), text_dim), depth), only_cross)| Level {
            channels,
            layers,
            heads,
            text_dim,
            only_cross,
            depth,
        })
        .collect())
}

/// `attention_head_dim` is the number of heads: it was named wrongly once and every config since repeats it.
fn check_heads(reader: &Reader<'_>, level: &Level) -> Result<()> {
    if level.channels % level.heads == 0 {
        return Ok(());
    }
    Err(reader.error(format!(
        "attention_head_dim {} (the number of heads) does not divide the block's {} channels",
        level.heads, level.channels
    )))
}

fn block(
    reader: &Reader<'_>,
    level: &Level,
    resnets: i64,
    depth: &Depth,
    attends: bool,
    resamples: bool,
    shared: &Shared,
) -> Result<BlockConfig> {
    let resnets = usize::try_from(resnets).unwrap_or_default();
    let attention = if attends {
        check_heads(reader, level)?;
        Some(AttentionConfig {
            heads: level.heads,
            depths: depth.expand(reader, resnets)?,
            text_dim: level.text_dim,
            linear_projection: shared.linear_projection,
            only_cross: level.only_cross,
            upcast: shared.upcast,
        })
    } else {
        None
    };
    Ok(BlockConfig { channels: level.channels, resnets, attention, resamples })
}

fn mid(reader: &mut Reader<'_>, level: &Level, shared: &Shared) -> Result<Option<MidConfig>> {
    let scale = reader.float("mid_block_scale_factor", 1.0)?;
    let kind = match reader.value("mid_block_type") {
        None => Some("UNetMidBlock2DCrossAttn"),
        Some(Value::Null) => None,
        Some(_) => Some(reader.text("mid_block_type", "")?),
    };
    let attends = match kind {
        None => return Ok(None),
        Some("UNetMidBlock2DCrossAttn") => true,
        Some("UNetMidBlock2D") => false,
        Some(_) => {
            let what = "UNetMidBlock2DCrossAttn, UNetMidBlock2D and null are supported";
            return Err(reader.unsupported("mid_block_type", what));
        }
    };
    if scale == 0.0 {
        return Err(reader.unsupported("mid_block_scale_factor", "the output is divided by it"));
    }
    let block = block(reader, level, 1, &level.depth, attends, false, shared)?;
    // The middle block is not told of `only_cross_attention`.
    let attention = block.attention.map(|attention| AttentionConfig { only_cross: false, ..attention });
    Ok(Some(MidConfig { channels: level.channels, scale, attention }))
}

/// Depths for the way up, as the blocks run: their own list, or the way down's reversed.
fn up_depths(reader: &mut Reader<'_>, levels: &[Level]) -> Result<Vec<Depth>> {
    let key = "reverse_transformer_layers_per_block";
    match reader.value(key) {
        None | Some(Value::Null) => {
            if levels.iter().any(|level| matches!(level.depth, Depth::Each(_))) {
                return Err(reader.error(format!(
                    "transformer_layers_per_block has a list for a block, so {key} is needed for the way up"
                )));
            }
            Ok(levels.iter().rev().map(|level| level.depth.clone()).collect())
        }
        Some(Value::Array(depths)) if depths.len() >= levels.len() => {
            depths.iter().map(|depth| Depth::read(reader, key, depth)).collect()
        }
        Some(_) => Err(reader.unsupported(key, format!("a list of {} entries is needed", levels.len()))),
    }
}
