//! The `config.json` that a network would have, told from the shapes of its tensors: for files that carry none. What no
//! shape tells (heads, groups, scales) is what the families that people have do; `docs/MODELS.md` lists it.

mod clip;
mod facts;
mod flux;
pub mod scheduler;
mod t5;
#[cfg(test)]
mod tests;
mod unet;
mod vae;

pub use clip::clip;
pub use facts::Facts;
pub use flux::flux;
pub use t5::t5;
pub use unet::{UNetHints, unet};
pub use vae::{VaeFamily, vae};

/// The width of a head in the attention of Stable Diffusion 2, XL and CLIP.
const HEAD: u64 = 64;

/// Heads of 64 where the width is made of such, else as many of the next smaller power of two as fit.
fn heads_of(width: u64) -> u64 {
    let mut head = HEAD;
    while head > 1 && !width.is_multiple_of(head) {
        head /= 2;
    }
    (width / head).max(1)
}

/// Groups of the group norms: 32, or the largest power of two that divides all widths.
fn groups_of(widths: &[u64]) -> u64 {
    let mut groups = 32;
    while groups > 1 && widths.iter().any(|width| !width.is_multiple_of(groups)) {
        groups /= 2;
    }
    groups
}
