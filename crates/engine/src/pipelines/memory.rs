//! Whether a picture's working memory is there. Linux grants memory that it does not have and later kills whoever
//! uses it; asking first turns a dead process into an answer. On other systems nothing is known, and all goes.

use std::fs;

use easel_engine_protocol::EngineErrorKind;
use tch::{Device, Kind};

use crate::config::VaeConfig;
use crate::{Error, Result};

/// How often the widths of the last two blocks are held at once while a picture is decoded, which is where a pipeline
/// needs most. Measured with PyTorch 2.11 on a CPU: 2.6 times, at 1024 and at 2048 pixels a side.
const HELD: u64 = 3;

/// Refuses a picture of this size when the host has too little memory to decode it. A GPU's allocator answers for
/// itself.
pub fn check(vae: &VaeConfig, (width, height): (u32, u32), device: Device, kind: Kind) -> Result<()> {
    if device != Device::Cpu {
        return Ok(());
    }
    let needed = needed(vae, u64::from(width) * u64::from(height), kind);
    match available() {
        Some(available) if needed > available => Err(Error::new(
            EngineErrorKind::OutOfMemory,
            format!("a picture of {width}x{height} needs about {} MiB, {} are free", needed >> 20, available >> 20),
        )
        .with_hint("ask for a smaller picture")),
        _ => Ok(()),
    }
}

fn needed(vae: &VaeConfig, pixels: u64, kind: Kind) -> u64 {
    let widths = vae.block_channels.iter().rev().take(2).sum::<i64>().unsigned_abs();
    pixels.saturating_mul(widths).saturating_mul(HELD).saturating_mul(kind.elt_size_in_bytes() as u64)
}

/// Bytes that the process can still take: what the machine has free, or its control group allows, if that is less.
fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemAvailable:"))? << 10;
    Some(group().map_or(machine, |group| group.min(machine)))
}

/// What the control group leaves, page cache not counted: the kernel takes that back.
fn group() -> Option<u64> {
    let files = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat", "anon"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.stat", "total_rss"),
    ];
    files.iter().find_map(|(limit, usage, used)| {
        // No limit is written `max`, and so is no number.
        let limit: u64 = fs::read_to_string(limit).ok()?.trim().parse().ok()?;
        let used = field(&fs::read_to_string(usage).ok()?, used)?;
        Some(limit.saturating_sub(used))
    })
}

/// The number after a word at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use tch::{Device, Kind};

    use super::{check, field, needed};
    use crate::config::VaeConfig;

    fn vae() -> VaeConfig {
        let value = json!({
            "block_out_channels": [128, 256, 512, 512],
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
        });
        VaeConfig::read("vae", &value.as_object().cloned().unwrap_or_else(Map::new)).unwrap()
    }

    #[test]
    fn sdxl_needs_some_gigabytes_for_a_megapixel() {
        let needed = needed(&vae(), 1024 * 1024, Kind::Float);
        assert_eq!(needed, 1024 * 1024 * (128 + 256) * 3 * 4);
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let error = check(&vae(), (1 << 20, 1 << 20), Device::Cpu, Kind::Float).unwrap_err();
        assert_eq!(error.kind(), easel_engine_protocol::EngineErrorKind::OutOfMemory);
        check(&vae(), (8, 8), Device::Cpu, Kind::Float).unwrap();
        check(&vae(), (1 << 20, 1 << 20), Device::Cuda(0), Kind::Float).unwrap();
    }

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "inactive_anon 7\nanon 12\nMemAvailable:   34 kB\n";
        assert_eq!(field(text, "anon"), Some(12));
        assert_eq!(field(text, "MemAvailable:"), Some(34));
        assert_eq!(field(text, "rss"), None);
    }
}
