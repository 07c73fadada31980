//! Things that are expensive to load, kept while there is room: loaded once however many ask, handed out as leases, and
//! given up by the ledger's word. It does not know what they are; one shelf belongs to one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Instant;

use super::ledger::{Ledger, Shortage};

/// A thing that was loaded, and what it takes.
pub(super) struct Loaded<V> {
    /// The thing.
    pub value: V,
    /// Bytes of the device's own memory.
    pub bytes: u64,
    /// Bytes that are views of a file.
    pub mapped: u64,
}

/// Why nothing was leased.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure<E> {
    /// There is no room.
    Shortage(Shortage),
    /// It is being loaded right now, by who asks.
    Loading,
    /// It could not be loaded.
    Load(E),
}

impl<E> From<Shortage> for Failure<E> {
    fn from(shortage: Shortage) -> Self {
        Self::Shortage(shortage)
    }
}

/// How many bytes may be used, when this many are held.
type Limit = Box<dyn Fn(u64) -> u64>;

/// The things of a device.
pub(super) struct Shelf<K, V> {
    state: RefCell<State<K, V>>,
    limit: Limit,
}

struct State<K, V> {
    ledger: Ledger<K>,
    values: BTreeMap<K, Rc<V>>,
}

/// The use of a thing; while there is one, the thing stays.
pub(super) struct Hold<K: Copy + Ord, V> {
    value: Rc<V>,
    key: K,
    shelf: Rc<Shelf<K, V>>,
}

/// Bytes that are kept for what computing takes.
pub(super) struct Room<K: Copy + Ord, V> {
    bytes: u64,
    shelf: Rc<Shelf<K, V>>,
}

impl<K: Copy + Ord, V> Shelf<K, V> {
    /// An empty shelf.
    pub fn new(limit: Limit) -> Rc<Self> {
        Rc::new(Self { state: RefCell::new(State { ledger: Ledger::default(), values: BTreeMap::new() }), limit })
    }

    /// The thing of this name, loaded if it is not there. `estimate` is what it will take at most, as far as is known.
    pub fn lease<E>(
        self: &Rc<Self>,
        key: K,
        estimate: u64,
        load: impl FnOnce() -> Result<Loaded<V>, E>,
    ) -> Result<Hold<K, V>, Failure<E>> {
        if let Some(hold) = self.get(key) {
            return Ok(hold);
        }
        if self.with(|ledger| ledger.entry(key).is_some()) {
            return Err(Failure::Loading);
        }
        self.change(|ledger, limit| ledger.begin(key, estimate, limit))?;
        let pending = Pending { key, shelf: self };
        let begun = Instant::now();
        let Loaded { value, bytes, mapped } = load().map_err(Failure::Load)?;
        let seconds = begun.elapsed().as_secs_f64();
        self.change(|ledger, limit| ledger.finish(key, (bytes, mapped), seconds, limit))?;
        std::mem::forget(pending);
        let value = Rc::new(value);
        self.state.borrow_mut().values.insert(key, value);
        self.get(key).ok_or(Failure::Loading)
    }

    /// The thing of this name, if it is there.
    pub fn get(self: &Rc<Self>, key: K) -> Option<Hold<K, V>> {
        let mut state = self.state.borrow_mut();
        let value = Rc::clone(state.values.get(&key)?);
        state.ledger.lease(key);
        Some(Hold { value, key, shelf: Rc::clone(self) })
    }

    /// Keeps bytes for what computing takes; others leave for it if they must.
    pub fn room(self: &Rc<Self>, bytes: u64) -> Result<Room<K, V>, Shortage> {
        self.change(|ledger, limit| ledger.hold(bytes, limit))?;
        Ok(Room { bytes, shelf: Rc::clone(self) })
    }

    /// How many bytes may be used now.
    pub fn limit(&self) -> u64 {
        (self.limit)(self.with(Ledger::held))
    }

    /// Looks something up.
    pub fn with<T>(&self, look: impl FnOnce(&Ledger<K>) -> T) -> T {
        look(&self.state.borrow().ledger)
    }

    /// Does something with all that is there and that nobody uses, except `but`.
    pub fn each_idle(&self, but: impl Fn(K) -> bool, act: impl Fn(&V)) {
        let state = self.state.borrow();
        let idle = |key: K| state.ledger.entry(key).is_some_and(|entry| entry.leases == 0);
        state.values.iter().filter(|(key, _)| idle(**key) && !but(**key)).for_each(|(_, value)| act(value));
    }

    /// What the work at hand needs once more: it leaves after all else.
    pub fn want(&self, keys: impl IntoIterator<Item = K>) {
        self.state.borrow_mut().ledger.want(keys);
    }

    /// Whether a thing stays, used or not.
    pub fn pin(&self, key: K, pinned: bool) {
        self.state.borrow_mut().ledger.pin(key, pinned);
    }

    /// Gives a thing up: at once, or with its last lease.
    pub fn evict(&self, key: K) {
        let mut state = self.state.borrow_mut();
        // Who leases it keeps it alive; who comes next loads it anew, once the last of them is gone.
        let gone = if state.ledger.evict(key) { state.values.remove(&key) } else { None };
        drop(state);
        drop(gone);
    }

    /// Gives up all that nobody uses and that is not pinned.
    pub fn evict_idle(&self) {
        let mut state = self.state.borrow_mut();
        let keys = state.ledger.evict_idle();
        let gone: Vec<_> = keys.iter().filter_map(|key| state.values.remove(key)).collect();
        drop(state);
        drop(gone);
    }

    /// Does something that others may have to leave for, and drops those. They go while nothing is borrowed: dropping
    /// one may give back what it leased itself.
    fn change(&self, change: impl FnOnce(&mut Ledger<K>, u64) -> Result<Vec<K>, Shortage>) -> Result<(), Shortage> {
        let limit = self.limit();
        let mut state = self.state.borrow_mut();
        let keys = change(&mut state.ledger, limit)?;
        let gone: Vec<_> = keys.iter().filter_map(|key| state.values.remove(key)).collect();
        drop(state);
        drop(gone);
        Ok(())
    }
}

impl<K: Copy + Ord + fmt::Debug, V> fmt::Debug for Shelf<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("ledger", &self.state.borrow().ledger).finish_non_exhaustive()
    }
}

/// Takes the entry out again when loading fails, or panics.
struct Pending<'a, K: Copy + Ord, V> {
    key: K,
    shelf: &'a Shelf<K, V>,
}

impl<K: Copy + Ord, V> Drop for Pending<'_, K, V> {
    fn drop(&mut self) {
        self.shelf.state.borrow_mut().ledger.cancel(self.key);
    }
}

#[cfg(test)]
impl<K: Copy + Ord, V> Hold<K, V> {
    /// Which thing it is.
    pub fn key(&self) -> K {
        self.key
    }
}

impl<K: Copy + Ord, V> Deref for Hold<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<K: Copy + Ord, V> Drop for Hold<K, V> {
    fn drop(&mut self) {
        let mut state = self.shelf.state.borrow_mut();
        let gone = if state.ledger.release(self.key) { state.values.remove(&self.key) } else { None };
        drop(state);
        drop(gone);
    }
}

impl<K: Copy + Ord, V> Drop for Room<K, V> {
    fn drop(&mut self) {
        self.shelf.state.borrow_mut().ledger.unhold(self.bytes);
    }
}

impl<K: Copy + Ord + fmt::Debug, V> fmt::Debug for Hold<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&self.key).finish()
    }
}

impl<K: Copy + Ord, V> fmt::Debug for Room<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Room").field(&self.bytes).finish()
    }
}
