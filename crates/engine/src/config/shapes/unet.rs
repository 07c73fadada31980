//! `UNet2DConditionModel` from its shapes.

use serde_json::{Map, Value, json};

use super::{Facts, groups_of, heads_of};
use crate::Result;

/// What a UNet's own shapes do not tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct UNetHints {
    /// Width of the pooled text, where it is known from the text encoder.
    pub pooled: Option<u64>,
    /// Whether it predicts velocity.
    pub predicts_velocity: bool,
}

/// Heads of Stable Diffusion 1, whatever the width.
const HEADS_OF_SD1: u64 = 8;
/// Width of the text of Stable Diffusion 2.
const WIDTH_OF_SD2: u64 = 1024;
/// Sizes and crops that SDXL embeds beside the pooled text.
const SIZES: u64 = 6;
/// Width of the sinusoid of each, in all models that people have.
const SIZE_WIDTH: u64 = 256;

/// What a level has, from the outside in.
struct Level {
    channels: u64,
    resnets: usize,
    /// Transformer blocks after each resnet, where it attends.
    depths: Option<Vec<usize>>,
}

/// The config of a UNet.
pub fn unet(facts: &Facts<'_>, hints: UNetHints) -> Result<Map<String, Value>> {
    let (down, up) = (levels(facts, "down_blocks.")?, levels(facts, "up_blocks.")?);
    if down.is_empty() || down.len() != up.len() {
        let message = format!("{} levels lead down and {} up; the same number is needed", down.len(), up.len());
        return Err(facts.error(message));
    }
    for (i, (down, up)) in down.iter().zip(up.iter().rev()).enumerate() {
        if up.resnets != down.resnets + 1 {
            let (down, up) = (down.resnets, up.resnets);
            return Err(
                facts.error(format!("level {i} has {down} resnets on the way down and {up} up, one more is usual"))
            );
        }
    }
    let widths: Vec<u64> = down.iter().map(|level| level.channels).collect();
    let attention = Attention::find(facts)?;
    let cross = attention.as_ref().map(|attention| attention.text);
    let is_linear = attention.as_ref().is_some_and(|attention| attention.is_linear);
    let sinusoid = facts.axis("time_embedding.linear_1.weight", 1)?;
    let embedding = facts.axis("time_embedding.linear_1.weight", 0)?;
    let kernel = |name: &str| facts.axis(name, 2);
    let name = |attends: bool, place: &str| {
        if attends { format!("CrossAttn{place}Block2D") } else { format!("{place}Block2D") }
    };
    let mut config = Map::from_iter([
        ("_class_name".to_owned(), json!("UNet2DConditionModel")),
        ("in_channels".to_owned(), json!(facts.axis("conv_in.weight", 1)?)),
        ("out_channels".to_owned(), json!(facts.axis("conv_out.weight", 0)?)),
        ("conv_in_kernel".to_owned(), json!(kernel("conv_in.weight")?)),
        ("conv_out_kernel".to_owned(), json!(kernel("conv_out.weight")?)),
        ("block_out_channels".to_owned(), json!(widths)),
        ("norm_num_groups".to_owned(), json!(groups_of(&widths))),
        ("layers_per_block".to_owned(), same_or_each(down.iter().map(|level| level.resnets).collect())),
        ("use_linear_projection".to_owned(), json!(is_linear)),
        ("attention_head_dim".to_owned(), heads(&widths, is_linear)),
        ("sample_size".to_owned(), json!(sample_size(facts, cross, hints))),
    ]);
    let mut set = |key: &str, value: Value| {
        config.insert(key.to_owned(), value);
    };
    set("down_block_types", down.iter().map(|level| name(level.depths.is_some(), "Down")).collect());
    set("up_block_types", up.iter().map(|level| name(level.depths.is_some(), "Up")).collect());
    if let Some(cross) = cross {
        set("cross_attention_dim", json!(cross));
        // Attention of Stable Diffusion 2 overflows in half precision.
        if cross == WIDTH_OF_SD2 && !facts.has("add_embedding.") {
            set("upcast_attention", json!(true));
        }
    }
    if sinusoid.checked_mul(4) != Some(embedding) {
        set("time_embedding_dim", json!(embedding));
    }
    if let Some(width) = facts.find("time_embedding.cond_proj.weight", 1) {
        set("time_cond_proj_dim", json!(width));
    }
    only_cross(facts, &down, cross, &mut set);
    middle(facts, &down, &up, &mut set)?;
    if let Some(input) = facts.find("add_embedding.linear_1.weight", 1) {
        let sizes = hints.pooled.and_then(|pooled| input.checked_sub(pooled));
        let width = sizes.filter(|sizes| sizes.is_multiple_of(SIZES)).map_or(SIZE_WIDTH, |sizes| sizes / SIZES);
        set("addition_embed_type", json!("text_time"));
        set("addition_time_embed_dim", json!(width));
        set("projection_class_embeddings_input_dim", json!(input));
    }
    if let Some(input) = facts.find("class_embedding.linear_1.weight", 1) {
        set("class_embed_type", json!("projection"));
        set("projection_class_embeddings_input_dim", json!(input));
    }
    Ok(config)
}

fn levels(facts: &Facts<'_>, place: &str) -> Result<Vec<Level>> {
    (0..facts.count(place)).map(|i| level(facts, &format!("{place}{i}."))).collect()
}

fn level(facts: &Facts<'_>, place: &str) -> Result<Level> {
    let channels = facts.axis(&format!("{place}resnets.0.conv1.weight"), 0)?;
    let resnets = facts.count(&format!("{place}resnets."));
    let attends = |i: usize| facts.has(&format!("{place}attentions.{i}."));
    let attentions = (0..resnets).filter(|&i| attends(i)).count();
    if attentions != 0 && attentions != resnets {
        let message = format!("{place} attends after {attentions} of its {resnets} resnets; all or none is supported");
        return Err(facts.error(message));
    }
    let depth = |i: usize| facts.count(&format!("{place}attentions.{i}.transformer_blocks."));
    let depths = (attentions > 0).then(|| (0..resnets).map(depth).collect());
    Ok(Level { channels, resnets, depths })
}

/// What the first cross-attention shows.
struct Attention {
    text: u64,
    is_linear: bool,
}

impl Attention {
    fn find(facts: &Facts<'_>) -> Result<Option<Self>> {
        let levels = facts.count("down_blocks.");
        let places = (0..levels).map(|i| format!("down_blocks.{i}.attentions.0."));
        let places = places.chain(["mid_block.attentions.0.".to_owned()]);
        let places = places.chain((0..levels).map(|i| format!("up_blocks.{i}.attentions.0.")));
        for place in places {
            if let Some(text) = facts.find(&format!("{place}transformer_blocks.0.attn2.to_k.weight"), 1) {
                let projection = format!("{place}proj_in.weight");
                facts.axis(&projection, 1)?;
                let is_linear = facts.shape(&projection).is_some_and(|shape| shape.len() == 2);
                return Ok(Some(Self { text, is_linear }));
            }
        }
        Ok(None)
    }
}

/// `attention_head_dim`, which is the number of heads: 8 in Stable Diffusion 1, whose projections are convolutions; heads
/// of 64 in those since.
fn heads(widths: &[u64], is_linear: bool) -> Value {
    if is_linear {
        return json!(widths.iter().map(|&width| heads_of(width)).collect::<Vec<_>>());
    }
    let mut heads = HEADS_OF_SD1;
    while widths.iter().any(|width| !width.is_multiple_of(heads)) {
        heads /= 2;
    }
    json!(heads)
}

/// A level whose first attention has keys of the text's width looks at the text with both.
fn only_cross(facts: &Facts<'_>, down: &[Level], cross: Option<u64>, set: &mut impl FnMut(&str, Value)) {
    let only: Vec<bool> = (0..)
        .zip(down)
        .map(|(i, level): (usize, _)| {
            let keys = facts.find(&format!("down_blocks.{i}.attentions.0.transformer_blocks.0.attn1.to_k.weight"), 1);
            keys.is_some_and(|keys| keys != level.channels && Some(keys) == cross)
        })
        .collect();
    if only.contains(&true) {
        set("only_cross_attention", json!(only));
    }
}

/// The transformers' depths, and with them what is in the middle, which has the depth of the innermost level.
fn middle(facts: &Facts<'_>, down: &[Level], up: &[Level], set: &mut impl FnMut(&str, Value)) -> Result<()> {
    let attends = facts.has("mid_block.attentions.0.");
    let depth = attends.then(|| facts.count("mid_block.attentions.0.transformer_blocks."));
    if !facts.has("mid_block.") {
        set("mid_block_type", Value::Null);
    } else if !attends {
        set("mid_block_type", json!("UNetMidBlock2D"));
    }
    let innermost = down.last().and_then(|level| level.depths.as_deref()?.first().copied());
    if let (Some(depth), Some(innermost)) = (depth, innermost)
        && depth != innermost
    {
        let message = format!("the middle has {depth} transformer blocks and the level before it {innermost}");
        return Err(facts.error(format!("{message}; the same number is needed")));
    }
    // A level that does not attend says nothing; the innermost then speaks for the middle.
    let quiet = |is_last: bool| if is_last { depth.unwrap_or(1) } else { 1 };
    let wanted = |level: &Level, is_last: bool| match &level.depths {
        Some(depths) => same_or_each(depths.clone()),
        None => json!(quiet(is_last)),
    };
    let down_depths: Vec<Value> =
        down.iter().enumerate().map(|(i, level)| wanted(level, i + 1 == down.len())).collect();
    let up_depths: Vec<Value> = up.iter().enumerate().map(|(i, level)| wanted(level, i == 0)).collect();
    let mirrored = down_depths.iter().zip(down).zip(up_depths.iter().zip(up).rev()).all(|((a, down), (b, up))| {
        a.is_number() && b.is_number() && (a == b || down.depths.is_none() || up.depths.is_none())
    });
    let attends_alike = down.iter().zip(up.iter().rev()).all(|(down, up)| down.depths.is_some() == up.depths.is_some());
    if mirrored && attends_alike {
        set("transformer_layers_per_block", same_or_list(down_depths));
        return Ok(());
    }
    set("transformer_layers_per_block", json!(down_depths));
    set("reverse_transformer_layers_per_block", json!(up_depths));
    Ok(())
}

/// One number where all are the same, else all of them.
fn same_or_each(numbers: Vec<usize>) -> Value {
    same_or_list(numbers.into_iter().map(Value::from).collect())
}

fn same_or_list(values: Vec<Value>) -> Value {
    match values.split_first() {
        Some((first, rest)) if rest.iter().all(|value| value == first) => first.clone(),
        _ => Value::from(values),
    }
}

/// The side of the latents that the model was trained on.
fn sample_size(facts: &Facts<'_>, cross: Option<u64>, hints: UNetHints) -> u64 {
    if facts.has("add_embedding.") {
        128
    } else if cross == Some(WIDTH_OF_SD2) && hints.predicts_velocity {
        96
    } else {
        64
    }
}
