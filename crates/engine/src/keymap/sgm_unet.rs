//! The UNet of latent diffusion and of Stability's generative models. `input_blocks` and `output_blocks` are numbered
//! through; a level ends with what halves or doubles the picture.

use super::walk::{number, numbered, numbered_again, replaced};
use super::{Mapped, Shapes};

const OUTSIDE: [(&str, &str); 8] = [
    ("input_blocks.0.0", "conv_in"),
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("time_embed.cond_proj", "time_embedding.cond_proj"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
];

const RESNET: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("emb_layers.1", "time_emb_proj"),
    ("skip_connection", "conv_shortcut"),
];

/// What an entry of a block is.
enum Entry {
    Resnet,
    Attention,
    Halves,
    Doubles,
}

impl Entry {
    fn of(names: &[&str]) -> Option<Self> {
        let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        if has("in_layers.") {
            Some(Self::Resnet)
        } else if has("proj_in.") || has("transformer_blocks.") {
            Some(Self::Attention)
        } else if has("op.") {
            Some(Self::Halves)
        } else if has("conv.") {
            Some(Self::Doubles)
        } else {
            None
        }
    }
}

/// A level on the way down or up, and what it holds so far.
#[derive(Default)]
struct Level {
    number: usize,
    resnets: usize,
}

impl Level {
    /// Maps an entry, which lies at `source`, and counts it. `place` is `down_blocks` or `up_blocks`.
    fn add(&mut self, place: &str, source: &str, names: &[&str], plan: &mut Vec<Mapped>) {
        let level = self.number;
        let Some(entry) = Entry::of(names) else { return };
        let (target, table): (_, Option<&[(&str, &str)]>) = match entry {
            Entry::Resnet => (format!("{place}.{level}.resnets.{}", self.resnets), Some(&RESNET)),
            // A transformer stands beside the resnet before it.
            Entry::Attention => (format!("{place}.{level}.attentions.{}", self.resnets.saturating_sub(1)), None),
            Entry::Halves => (format!("{place}.{level}.downsamplers.0"), Some(&[("op", "conv")])),
            Entry::Doubles => (format!("{place}.{level}.upsamplers.0"), None),
        };
        plan.extend(names.iter().filter_map(|name| {
            let inner = match table {
                Some(table) => replaced(name, table)?,
                None => (*name).to_owned(),
            };
            Some(Mapped::whole(format!("{target}.{inner}"), format!("{source}.{name}")))
        }));
        match entry {
            Entry::Resnet => self.resnets += 1,
            Entry::Attention => {}
            Entry::Halves | Entry::Doubles => *self = Self { number: level + 1, resnets: 0 },
        }
    }
}

pub(super) fn map(names: &Shapes) -> Vec<Mapped> {
    let mut plan: Vec<Mapped> =
        names.keys().filter_map(|name| Some(Mapped::whole(replaced(name, &OUTSIDE)?, name))).collect();
    for (place, target) in [("input_blocks", "down_blocks"), ("output_blocks", "up_blocks")] {
        let mut level = Level::default();
        for (i, block) in numbered(names, &format!("{place}.")) {
            for (j, entry) in numbered_again(&block) {
                level.add(target, &format!("{place}.{i}.{j}"), &entry, &mut plan);
            }
        }
    }
    middle(names, &mut plan);
    plan
}

/// The middle is a level without a number.
fn middle(names: &Shapes, plan: &mut Vec<Mapped>) {
    let mut level = Level::default();
    let before = plan.len();
    for (j, entry) in numbered(names, "middle_block.") {
        level.add("middle", &format!("middle_block.{j}"), &entry, plan);
    }
    for mapped in plan.iter_mut().skip(before) {
        if let Some((_, rest)) = mapped.name.strip_prefix("middle.").and_then(number) {
            mapped.name = format!("mid_block.{rest}");
        }
    }
}
