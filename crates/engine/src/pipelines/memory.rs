//! What computing takes beside the weights, told from configs and sizes: the tensors that live at the same time, times
//! their widths. They are first guesses; the pool corrects them by what it measures.

use tch::{Device, Kind};

use crate::config::{ClipConfig, FluxConfig, UNetConfig, VaeConfig};
use crate::models::flux::at_once;
use crate::models::vae::Tiling;
use crate::pool::Working;

/// The largest side of a tile in pixels, where tiles are there to spare memory.
const TILE: u32 = 512;

/// The tiles of a VAE that spare memory: of the size that it was made for, but no larger than need be.
pub fn tiling(vae: &VaeConfig) -> Tiling {
    Tiling { tile: i64::from(tile(vae)), overlap: 0.25 }
}

fn tile(vae: &VaeConfig) -> u32 {
    u32::try_from(vae.sample_size).unwrap_or(TILE).clamp(vae.scale_factor().saturating_mul(8).min(TILE), TILE)
}

/// How many quarters of the widths of the last two blocks are held at once while a picture is decoded. On a CPU: the input
/// of the first resnet of the last block, which is as wide as the block before, what comes out, and strips of both: 1.3
/// times were measured. Halves are normed as a whole, and hold more. On a GPU convolutions take workspace: 2200 bytes a
/// pixel and byte of an element for SDXL's VAE, as InvokeAI has measured.
const HELD_ON_CPU: u64 = 6;
const HELD_IN_HALVES: u64 = 8;
const HELD_ON_GPU: u64 = 24;

/// What encoding `texts` prompts of `tokens` takes, in a transformer of this width.
pub fn text((width, inner): (i64, i64), heads: i64, (texts, tokens): (u32, i64), kind: Kind) -> Working {
    // States, queries, keys, values and their sum; the two halves of the feed-forward layer; attention in single
    // precision, as probabilities and before.
    let states = tokens * (width * 8 + inner * 3);
    let scores = heads * tokens * tokens * 2;
    Working { fixed: bytes(states + scores, kind).saturating_mul(u64::from(texts)), each: 0 }
}

/// [`text`] for a CLIP encoder.
pub fn clip(config: &ClipConfig, texts: u32, kind: Kind) -> Working {
    text((config.hidden_size, config.intermediate_size), config.heads, (texts, config.positions), kind)
}

/// What a step takes on latents of this height and width; twice where guidance is computed.
pub fn unet(config: &UNetConfig, (height, width): (i64, i64), guided: bool, (device, kind): (Device, Kind)) -> Working {
    let mut pixels = height * width;
    let mut skips = pixels * config.first_channels;
    let mut widest = 0;
    for block in &config.down {
        let resnets = i64::try_from(block.resnets).unwrap_or(i64::MAX);
        skips = skips.saturating_add(pixels.saturating_mul(block.channels).saturating_mul(resnets));
        // On the way up the block's input stands beside what was kept; a gated feed-forward layer is eight times as
        // wide as its block, and four times what comes out of the gate. The numbers are what was measured on a CPU.
        let widths = if block.attention.is_some() { 30 } else { 15 };
        widest = widest.max(pixels.saturating_mul(block.channels).saturating_mul(widths));
        if block.resamples {
            pixels = (pixels + 3) / 4;
            skips = skips.saturating_add(pixels.saturating_mul(block.channels));
        }
    }
    let batch = if guided { 2 } else { 1 };
    Working::each(bytes(skips.saturating_add(widest), computed_in(device, kind)).saturating_mul(batch))
}

/// What a step takes on so many tokens of text and picture: queries, keys, values and the feed-forward layer's input come out
/// of one matrix and go into another together, beside the states and what they are turned into.
pub fn flux(config: &FluxConfig, tokens: i64, (device, kind): (Device, Kind)) -> Working {
    let states = tokens.saturating_mul(config.width());
    Working::each(bytes(states.saturating_mul(28), computed_in(device, kind)))
}

/// What is kept of the times of pictures of so many tokens, of so many texts (or of one that is for all): six scales, shifts and
/// gates for each of the two streams of a block, or three, and two behind the blocks.
pub fn flux_times(config: &FluxConfig, tokens: i64, (steps, texts): (u32, usize), kind: Kind) -> u64 {
    let steps = usize::try_from(steps).unwrap_or(usize::MAX);
    let times = i64::try_from(at_once(config, tokens, texts).min(steps).saturating_mul(texts)).unwrap_or(i64::MAX);
    let rows = config.double_blocks.saturating_mul(12).saturating_add(config.single_blocks.saturating_mul(3) + 2);
    bytes(rows.saturating_mul(config.width()).saturating_mul(times), kind)
}

/// What decoding takes, whole and in tiles, one picture after the other.
pub fn decode(vae: &VaeConfig, (width, height): (u32, u32), device: Device, kind: Kind) -> (Working, Working) {
    let whole = vae_pixels(vae, u64::from(width) * u64::from(height), device, kind);
    let (width, height) = (u64::from(width), u64::from(height));
    let side = u64::from(tile(vae));
    let tile = width.min(side) * height.min(side);
    // The picture is put together from its tiles beside them.
    let picture = (width * height).saturating_mul(3 * 2).saturating_mul(kind.elt_size_in_bytes() as u64);
    let tiled = vae_pixels(vae, tile, device, kind).saturating_add(picture);
    let once = |fixed| Working { fixed, each: 0 };
    (once(whole), once(tiled.min(whole)))
}

/// What encoding a picture takes, whole and in tiles: half of what decoding does, and on a CPU as much, as convolutions
/// that halve the picture are not cut into strips.
pub fn encode(vae: &VaeConfig, size: (u32, u32), device: Device, kind: Kind) -> (Working, Working) {
    let (whole, tiled) = decode(vae, size, device, kind);
    let part = |working: Working| Working {
        fixed: if device == Device::Cpu { working.fixed } else { working.fixed / 2 },
        each: 0,
    };
    (part(whole), part(tiled))
}

fn vae_pixels(vae: &VaeConfig, pixels: u64, device: Device, kind: Kind) -> u64 {
    let widths = vae.block_channels.iter().rev().take(2).sum::<i64>().unsigned_abs();
    let held = match (device, kind) {
        (Device::Cpu, Kind::Float) => HELD_ON_CPU,
        (Device::Cpu, _) => HELD_IN_HALVES,
        _ => HELD_ON_GPU,
    };
    pixels.saturating_mul(widths).saturating_mul(held).saturating_mul(kind.elt_size_in_bytes() as u64) / 4
}

/// A processor sums up halves in single precision, and keeps both.
fn computed_in(device: Device, kind: Kind) -> Kind {
    if device == Device::Cpu { Kind::Float } else { kind }
}

fn bytes(elements: i64, kind: Kind) -> u64 {
    elements.unsigned_abs().saturating_mul(kind.elt_size_in_bytes() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use tch::{Device, Kind};

    use super::{decode, encode, flux_times, unet};
    use crate::config::{FluxConfig, UNetConfig, VaeConfig};
    use crate::pool::Working;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn vae() -> VaeConfig {
        let blocks = ["UpDecoderBlock2D"; 4];
        let value =
            json!({ "sample_size": 1024, "block_out_channels": [128, 256, 512, 512], "up_block_types": blocks });
        VaeConfig::read("vae", &object(&value)).unwrap()
    }

    #[test]
    fn sdxl_needs_some_gigabytes_to_decode_a_megapixel_and_less_in_tiles() {
        let (whole, tiled) = decode(&vae(), (1024, 1024), Device::Cpu, Kind::Float);
        assert_eq!(whole.of(1), 1024 * 1024 * (128 + 256) * 6);
        assert!(tiled.of(1) < whole.of(1) / 3);
        let of = |working: (Working, Working)| working.0.of(1);
        let [encoding, decoding] =
            [encode, decode].map(|half| of(half(&vae(), (1024, 1024), Device::Cuda(0), Kind::Half)));
        assert!(encoding < decoding && decoding == 1024 * 1024 * (128 + 256) * 6 * 2);
        let [encoding, decoding] =
            [encode, decode].map(|half| of(half(&vae(), (1024, 1024), Device::Cpu, Kind::BFloat16)));
        assert!(encoding >= decoding && decoding > whole.of(1) / 2, "halves are not normed in strips");
        let (_, small) = decode(&vae(), (64, 64), Device::Cpu, Kind::Float);
        assert_eq!(small, decode(&vae(), (64, 64), Device::Cpu, Kind::Float).0, "a small picture has no tiles");
    }

    #[test]
    fn a_step_grows_with_size_guidance_and_numbers() {
        let config = UNetConfig::read("unet", &object(&json!({ "cross_attention_dim": 768 }))).unwrap();
        let needs = |side, guided, kind| unet(&config, (side, side), guided, (Device::Cuda(0), kind)).of(1);
        let small = needs(64, false, Kind::Float);
        assert!((200 << 20..600 << 20).contains(&needs(64, true, Kind::Float)), "{}", needs(64, true, Kind::Float));
        assert_eq!(needs(64, true, Kind::Float), 2 * small);
        assert_eq!(needs(64, false, Kind::BFloat16), small / 2);
        assert!(needs(128, false, Kind::Float) >= 4 * small - 4096);
        assert_eq!(unet(&config, (64, 64), false, (Device::Cpu, Kind::BFloat16)).of(3), 3 * small);
    }

    #[test]
    fn what_is_kept_of_flux_s_times_is_bounded_however_many_texts_there_are() {
        let config = FluxConfig::read("transformer", &Map::new()).unwrap();
        let kept = |steps, texts| flux_times(&config, 4352, (steps, texts), Kind::BFloat16);
        assert_eq!(kept(1, 1), (19 * 12 + 38 * 3 + 2) * 3072 * 2);
        assert_eq!(kept(4, 8), 32 * kept(1, 1));
        assert_eq!(kept(50, 8), 32 * kept(1, 1));
        assert_eq!(kept(50, 40), 40 * kept(1, 1), "a time at least");
        assert_eq!(flux_times(&config, 42, (4, 8), Kind::BFloat16), 8 * kept(1, 1), "one, of small pictures");
    }
}
