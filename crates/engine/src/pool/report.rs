//! What a pool holds, for the status and for sentences.

use easel_engine_protocol::{ComponentState, ComponentStatus, Dtype, MemoryStatus};
use tch::{Device, Kind};

use super::Pool;

impl Pool {
    /// How the device's memory is used.
    pub fn memory(&self) -> MemoryStatus {
        let limit = self.shelf.limit();
        self.shelf.with(|ledger| {
            let sum = |of: &dyn Fn(&super::ledger::Entry) -> u64| ledger.entries().map(|(_, entry)| of(entry)).sum();
            MemoryStatus {
                budget: (limit != u64::MAX).then_some(limit),
                used: ledger.used(),
                leased: sum(&|entry| if entry.leases > 0 { entry.bytes } else { 0 }),
                working: ledger.working(),
                mapped: sum(&|entry| entry.mapped),
                peak: ledger.peak(),
            }
        })
    }

    /// The components that are known, those that are there first.
    pub fn components(&self) -> Vec<ComponentStatus> {
        let known = self.known.borrow();
        let mut all: Vec<_> = known
            .keys()
            .filter_map(|key| {
                let (variant, component) = known.variant(key)?;
                let entry = self.shelf.with(|ledger| ledger.entry(key).copied());
                let state = match entry {
                    None => ComponentState::OnDisk,
                    Some(entry) if entry.loading => ComponentState::Loading,
                    Some(entry) if entry.bytes == 0 && entry.mapped > 0 => ComponentState::Mapped,
                    Some(_) => ComponentState::OnDevice,
                };
                Some(ComponentStatus {
                    name: component.part.name.clone(),
                    class: component.part.class.clone(),
                    adapted: component.part.patches.is_some(),
                    dtype: dtype(variant.kind)?,
                    state,
                    bytes: entry.map_or(0, |entry| entry.bytes),
                    mapped: entry.map_or(0, |entry| entry.mapped),
                    shared_by: u32::try_from(component.users.len()).unwrap_or(u32::MAX),
                    leases: entry.map_or(0, |entry| entry.leases),
                    load_ms: entry.map_or(0, |entry| millis(entry.seconds)),
                    idle_ms: entry.and_then(|entry| u64::try_from(entry.last_used.elapsed().as_millis()).ok()),
                })
            })
            .collect();
        all.sort_by_key(|component| std::cmp::Reverse(component.bytes + component.mapped));
        all
    }
}

fn dtype(kind: Kind) -> Option<Dtype> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "networks compute in no others")]
    match kind {
        Kind::Float => Some(Dtype::Fp32),
        Kind::BFloat16 => Some(Dtype::Bf16),
        Kind::Half => Some(Dtype::Fp16),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a load are positive and few")]
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// A device as people call it.
pub(super) fn device(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Mps | Device::Vulkan => format!("{device:?}").to_lowercase(),
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    if bytes >= 10 << 30 {
        return format!("{} GiB", bytes.div_ceil(1 << 30));
    }
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
