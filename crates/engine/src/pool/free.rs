//! What memory the machine has free and the process takes, as Linux tells it. Elsewhere nothing is known.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is left alone of the free memory, at least: the rest of the machine lives too.
const MARGIN: u64 = 256 << 20;

/// How many bytes a device's pool may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// What is free, less a margin.
    Free,
    /// This many bytes, and on the host never more than what is free.
    Bytes(u64),
}

impl Budget {
    /// Bytes that may be used in all by a pool on the host that holds this many.
    pub(super) fn on_host(self, held: u64) -> u64 {
        let free = available().map_or(u64::MAX, |free| held.saturating_add(free.saturating_sub(margin(free))));
        self.on_device().min(free)
    }

    /// The same for a device that answers for itself.
    pub(super) fn on_device(self) -> u64 {
        match self {
            Self::Free => u64::MAX,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// An eighth, but no more than the margin where little is free.
fn margin(free: u64) -> u64 {
    MARGIN.min(free / 8)
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

/// The highest peak before the mark was set back.
static MOST: AtomicU64 = AtomicU64::new(0);

/// The most bytes that this process has ever had in memory, pages of files and all. Not `VmHWM`, whose mark is set back
/// whenever a phase begins.
pub fn most_resident() -> Option<u64> {
    Some(Resident::now()?.peak.max(MOST.load(Ordering::Relaxed)))
}

/// Bytes that the process has in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resident {
    /// Its own.
    pub own: u64,
    /// Pages of files.
    pub mapped: u64,
    /// The most of both together since the mark was set back.
    pub peak: u64,
}

impl Resident {
    /// What it is now.
    pub fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/status").ok()?;
        let bytes = |name| field(&text, name).map(|kibibytes| kibibytes << 10);
        Some(Self { own: bytes("RssAnon:")?, mapped: bytes("RssFile:")?, peak: bytes("VmHWM:")? })
    }

    /// Sets the mark of the peak back to what is there now (`man 5 proc`, `clear_refs`), where that is allowed.
    pub fn mark() -> Option<Self> {
        MOST.fetch_max(Self::now()?.peak, Ordering::Relaxed);
        fs::write("/proc/self/clear_refs", "5").ok()?;
        Self::now()
    }

    /// Bytes of its own that the process took at most since `self` was marked. Pages of files that came in meanwhile
    /// are counted out; those that also left again are not, which can only make it less.
    pub fn grown(self, now: Self) -> u64 {
        let before = self.own.saturating_add(self.mapped);
        now.peak.saturating_sub(before).saturating_sub(now.mapped.saturating_sub(self.mapped))
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Resident, field, most_resident};

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "inactive_anon 7\nanon 12\nMemAvailable:   34 kB\n";
        assert_eq!(field(text, "anon"), Some(12));
        assert_eq!(field(text, "MemAvailable:"), Some(34));
        assert_eq!(field(text, "rss"), None);
    }

    #[test]
    fn a_budget_on_the_host_is_never_more_than_what_is_free() {
        assert_eq!(Budget::Bytes(1 << 20).on_host(0), 1 << 20);
        if cfg!(target_os = "linux") {
            assert!(Budget::Bytes(u64::MAX).on_host(0) < 1 << 60);
            assert_eq!(Budget::Bytes(u64::MAX).on_device(), u64::MAX);
        }
    }

    #[test]
    fn what_was_taken_and_given_back_shows_in_the_peak() {
        let Some(before) = Resident::mark() else {
            return;
        };
        // Other tests of this process take memory meanwhile, so half is enough to see it; and they set the one mark of the
        // process back, so it is tried again where they did between.
        let shows = |_| {
            let before = Resident::mark().unwrap();
            drop(std::hint::black_box(vec![1_u8; 64 << 20]));
            before.grown(Resident::now().unwrap()) > 32 << 20
        };
        assert!((0..50).any(shows), "64 MiB show in none of fifty peaks");
        let most = most_resident().unwrap();
        Resident::mark().unwrap();
        assert!(most_resident().unwrap() >= most && most >= before.own + (32 << 20), "a mark takes nothing away");
    }
}
