//! Names of the UNet in Stability's own code (`input_blocks.4.1`), which counts the blocks through. How many there are of
//! which sort is read off diffusers' names.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Alias, Place, numbered};

/// Names outside the blocks.
const OUTSIDE: [(&str, &str); 8] = [
    ("conv_in", "input_blocks.0.0"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("class_embedding.linear_1", "label_emb.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
];

/// Names inside a resnet.
const RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// The blocks of one side: how many resnets, which of them attend, and whether a sampler follows.
#[derive(Debug, Default)]
struct Block {
    resnets: BTreeSet<usize>,
    attentions: BTreeSet<usize>,
    samples: bool,
}

/// The names of a UNet's layers; none for what is no UNet.
pub fn aliases(layers: &[&str]) -> Vec<Alias> {
    let prefixes = prefixes(layers);
    if prefixes.is_empty() {
        return Vec::new();
    }
    layers.iter().filter_map(|layer| Some((sgm_name(layer, &prefixes)?, Place::One((*layer).to_owned())))).collect()
}

fn sgm_name(layer: &str, prefixes: &HashMap<String, String>) -> Option<String> {
    if let Some((_, sgm)) = OUTSIDE.iter().find(|(known, _)| known == &layer) {
        return Some((*sgm).to_owned());
    }
    // `down_blocks.1.attentions.0` or `mid_block.resnets.1`, then what is inside.
    let dots = if layer.starts_with("mid_block.") { 3 } else { 4 };
    let end = layer.match_indices('.').nth(dots - 1).map(|(at, _)| at)?;
    let (block, inside) = layer.split_at_checked(end)?;
    let inside = inside.strip_prefix('.')?;
    let prefix = prefixes.get(block)?;
    if block.contains(".resnets.") {
        let (_, sgm) = RESNET.iter().find(|(known, _)| *known == inside)?;
        return Some(format!("{prefix}.{sgm}"));
    }
    if block.contains("samplers.") {
        // The one layer of a sampler has no name of its own when it makes pictures smaller.
        let inner = if block.contains(".downsamplers.") { "op" } else { "conv" };
        return (inside == "conv").then(|| format!("{prefix}.{inner}"));
    }
    Some(format!("{prefix}.{inside}"))
}

/// Where each block of diffusers is in Stability's counting.
fn prefixes(layers: &[&str]) -> HashMap<String, String> {
    let (mut down, mut up) = (BTreeMap::<usize, Block>::new(), BTreeMap::<usize, Block>::new());
    let mut middle = BTreeSet::new();
    for layer in layers {
        for (side, word) in [(&mut down, "down_blocks"), (&mut up, "up_blocks")] {
            let Some((i, inside)) = numbered(layer, word) else { continue };
            let block = side.entry(i).or_default();
            if let Some((j, _)) = numbered(inside, "resnets") {
                block.resnets.insert(j);
            } else if let Some((j, _)) = numbered(inside, "attentions") {
                block.attentions.insert(j);
            } else if inside.contains("samplers.") {
                block.samples = true;
            }
        }
        if let Some(inside) = layer.strip_prefix("mid_block.") {
            for (order, word) in [(0, "resnets"), (1, "attentions")] {
                if let Some((j, _)) = numbered(inside, word) {
                    middle.insert((j, order, word));
                }
            }
        }
    }
    let mut prefixes = HashMap::new();
    // The first of the input blocks is the convolution before them.
    let mut next = 1;
    for (i, block) in &down {
        for j in &block.resnets {
            prefixes.insert(format!("down_blocks.{i}.resnets.{j}"), format!("input_blocks.{next}.0"));
            if block.attentions.contains(j) {
                prefixes.insert(format!("down_blocks.{i}.attentions.{j}"), format!("input_blocks.{next}.1"));
            }
            next += 1;
        }
        if block.samples {
            prefixes.insert(format!("down_blocks.{i}.downsamplers.0"), format!("input_blocks.{next}.0"));
            next += 1;
        }
    }
    for (at, (j, _, word)) in middle.iter().enumerate() {
        prefixes.insert(format!("mid_block.{word}.{j}"), format!("middle_block.{at}"));
    }
    let mut next = 0;
    for (i, block) in &up {
        for j in &block.resnets {
            prefixes.insert(format!("up_blocks.{i}.resnets.{j}"), format!("output_blocks.{next}.0"));
            if block.attentions.contains(j) {
                prefixes.insert(format!("up_blocks.{i}.attentions.{j}"), format!("output_blocks.{next}.1"));
            }
            if block.samples && block.resnets.last() == Some(j) {
                // After whatever else is in the last block.
                let at = 1 + usize::from(block.attentions.contains(j));
                prefixes.insert(format!("up_blocks.{i}.upsamplers.0"), format!("output_blocks.{next}.{at}"));
            }
            next += 1;
        }
    }
    prefixes
}
