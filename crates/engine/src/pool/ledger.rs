//! Who holds how many bytes of a device, who uses what, and whether more fits. Bookkeeping alone: it holds nothing of
//! what it counts, and nothing is freed by it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::policy::{self, Standing};

/// There is not room enough, whoever leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    /// Bytes that are needed in all.
    pub needed: u64,
    /// Bytes that could be made free.
    pub free: u64,
}

/// What is known of a thing on the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    /// Bytes of the device's own memory.
    pub bytes: u64,
    /// Bytes that are views of a file; the system takes them back when it needs to.
    pub mapped: u64,
    /// How many use it now.
    pub leases: u32,
    /// Whether it stays, used or not.
    pub pinned: bool,
    /// Whether it is being loaded.
    pub loading: bool,
    /// Whether it leaves with its last lease.
    pub doomed: bool,
    /// Seconds that loading took.
    pub seconds: f64,
    /// How often it was leased.
    pub uses: u32,
    /// When it was leased or given back last.
    pub last_used: Instant,
    worth: f64,
}

impl Entry {
    /// Whether it can leave.
    fn idle(&self) -> bool {
        self.leases == 0 && !self.pinned && !self.loading
    }
}

/// The books of one device.
#[derive(Debug)]
pub(super) struct Ledger<K> {
    entries: BTreeMap<K, Entry>,
    wanted: BTreeSet<K>,
    working: u64,
    peak: u64,
    floor: f64,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), wanted: BTreeSet::new(), working: 0, peak: 0, floor: 0.0 }
    }
}

impl<K: Copy + Ord> Ledger<K> {
    /// What is known of a thing.
    pub fn entry(&self, key: K) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// Everything there is.
    pub fn entries(&self) -> impl Iterator<Item = (K, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    /// Bytes of the device's own memory that are spoken for.
    pub fn used(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes).sum::<u64>() + self.working
    }

    /// Bytes that things take that are there by now.
    pub fn held(&self) -> u64 {
        self.entries.values().filter(|entry| !entry.loading).map(|entry| entry.bytes).sum()
    }

    /// Bytes kept for what computing takes.
    pub fn working(&self) -> u64 {
        self.working
    }

    /// The most that was ever spoken for.
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Bytes that cannot be made free now, except those of `but`.
    pub fn fixed(&self, but: impl Fn(K) -> bool) -> u64 {
        let fixed = |(key, entry): &(K, &Entry)| !entry.idle() && !but(*key);
        self.entries().filter(fixed).map(|(_, entry)| entry.bytes).sum::<u64>() + self.working
    }

    /// What the work at hand needs once more: it leaves after all else.
    pub fn want(&mut self, keys: impl IntoIterator<Item = K>) {
        self.wanted = keys.into_iter().collect();
    }

    /// Makes room for a thing that is about to be loaded. Gives those that must leave for it, which are struck out here.
    pub fn begin(&mut self, key: K, bytes: u64, limit: u64) -> Result<Vec<K>, Shortage> {
        let left = self.make_room(bytes, limit)?;
        let entry = Entry {
            bytes,
            mapped: 0,
            leases: 0,
            pinned: false,
            loading: true,
            doomed: false,
            seconds: 0.0,
            uses: 0,
            last_used: Instant::now(),
            worth: 0.0,
        };
        self.entries.insert(key, entry);
        self.note_peak();
        Ok(left)
    }

    /// It is loaded and takes this much; it may be more than was thought, and others leave for it then.
    pub fn finish(
        &mut self,
        key: K,
        (bytes, mapped): (u64, u64),
        seconds: f64,
        limit: u64,
    ) -> Result<Vec<K>, Shortage> {
        let thought = self.entries.get(&key).map_or(0, |entry| entry.bytes);
        let left = if bytes > thought { self.make_room(bytes - thought, limit)? } else { Vec::new() };
        if let Some(entry) = self.entries.get_mut(&key) {
            *entry = Entry { bytes, mapped, seconds, loading: false, ..*entry };
        }
        self.note_peak();
        Ok(left)
    }

    /// It could not be loaded.
    pub fn cancel(&mut self, key: K) {
        self.entries.remove(&key);
    }

    /// Somebody uses it.
    pub fn lease(&mut self, key: K) {
        let floor = self.floor;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.leases += 1;
            entry.uses = entry.uses.saturating_add(1);
            entry.last_used = Instant::now();
            entry.worth = policy::worth(floor, entry.seconds, entry.bytes, entry.uses);
        }
    }

    /// Somebody uses it no longer. True when it leaves with that.
    pub fn release(&mut self, key: K) -> bool {
        let Some(entry) = self.entries.get_mut(&key) else {
            return false;
        };
        entry.leases = entry.leases.saturating_sub(1);
        entry.last_used = Instant::now();
        let leaves = entry.doomed && entry.leases == 0;
        if leaves {
            self.entries.remove(&key);
        }
        leaves
    }

    /// Whether it stays, used or not.
    pub fn pin(&mut self, key: K, pinned: bool) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.pinned = pinned;
        }
    }

    /// Strikes a thing out, at once or with its last lease. True when it leaves at once.
    pub fn evict(&mut self, key: K) -> bool {
        let Some(entry) = self.entries.get_mut(&key) else {
            return false;
        };
        if entry.leases == 0 && !entry.loading {
            self.entries.remove(&key);
            return true;
        }
        entry.doomed = true;
        entry.pinned = false;
        false
    }

    /// Strikes out all that nobody uses.
    pub fn evict_idle(&mut self) -> Vec<K> {
        let idle: Vec<K> = self.entries().filter(|(_, entry)| entry.idle()).map(|(key, _)| key).collect();
        for key in &idle {
            self.entries.remove(key);
        }
        idle
    }

    /// Keeps bytes for what computing takes. Gives those that must leave for it.
    pub fn hold(&mut self, bytes: u64, limit: u64) -> Result<Vec<K>, Shortage> {
        let left = self.make_room(bytes, limit)?;
        self.working = self.working.saturating_add(bytes);
        self.note_peak();
        Ok(left)
    }

    /// Computing is done.
    pub fn unhold(&mut self, bytes: u64) {
        self.working = self.working.saturating_sub(bytes);
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(self.used());
    }

    /// Strikes out the cheapest that must leave so that `bytes` more fit. All or nothing. What takes nothing always
    /// fits: it makes nothing worse.
    fn make_room(&mut self, bytes: u64, limit: u64) -> Result<Vec<K>, Shortage> {
        let needed = self.used().saturating_add(bytes);
        if bytes == 0 || needed <= limit {
            return Ok(Vec::new());
        }
        let standing = self.entries().filter(|(_, entry)| entry.idle()).map(|(key, entry)| Standing {
            key,
            bytes: entry.bytes,
            wanted: self.wanted.contains(&key),
            worth: entry.worth,
        });
        let Some(leaving) = policy::leaving(standing.collect(), needed - limit) else {
            let free = limit.saturating_sub(self.fixed(|_| false));
            return Err(Shortage { needed: bytes, free });
        };
        for one in &leaving {
            self.floor = self.floor.max(one.worth);
            self.entries.remove(&one.key);
        }
        Ok(leaving.into_iter().map(|one| one.key).collect())
    }
}
