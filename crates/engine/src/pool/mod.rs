//! Networks that are built, by what they are built from, so that two models with the same part share it; and the memory
//! of the device that they and their computing take. A pipeline says what it will need, is told how it may do it, and
//! leases what it computes with phase by phase; nobody writes to a network. One pool belongs to one device and so to
//! one thread.

mod admit;
mod computing;
mod content;
mod digests;
mod estimate;
mod free;
mod identity;
mod known;
mod learned;
mod ledger;
mod network;
mod plan;
mod policy;
mod report;
mod shelf;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use easel_engine_protocol::EngineErrorKind;
use tch::{Device, Kind};

pub use admit::Admission;
pub use computing::Computing;
pub use free::{Budget, most_resident};
pub use network::{Lease, Network};
pub use plan::{Need, Phase, PhaseKind, Plan, Wish, Working};

use crate::parts::Part;
use crate::weights::{Pages, WeightMap};
use crate::{Error, Result};
use digests::Digests;
use known::{Key, Known};
use learned::Learned;
use ledger::Shortage;
use shelf::{Failure, Loaded, Shelf};

/// The networks of one device. Cloning gives another handle to the same ones.
#[derive(Debug, Clone)]
pub struct Pool {
    device: Device,
    shelf: Rc<Shelf<Key, Built>>,
    known: Rc<RefCell<Known>>,
    learned: Rc<RefCell<Learned>>,
    /// The model that leases now.
    user: Rc<Cell<Option<u64>>>,
    /// Memory ran out, though it was thought to be there: the next job is done in the most frugal way.
    strained: Rc<Cell<bool>>,
    /// The last job that asked was refused.
    refused: Rc<Cell<bool>>,
    /// What is being loaded to be there together.
    gathered: Rc<RefCell<Option<Vec<Key>>>>,
    watch: Rc<RefCell<Watch>>,
}

/// Who is told when the use of memory changes.
#[derive(Default)]
struct Watch(Option<Watcher>);

type Watcher = Box<dyn Fn(&Pool)>;

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// A network that is built, whatever it is.
#[derive(Debug)]
struct Built {
    network: Rc<dyn Any>,
    warnings: Vec<String>,
    pages: Pages,
}

/// How much memory a pool may use, and where it keeps what it learnt.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many bytes of the device may be used.
    pub budget: Budget,
    /// The folder for digests of components; without one they are kept in memory only.
    pub cache: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { budget: Budget::Free, cache: None }
    }
}

impl Pool {
    /// An empty pool that uses what is free.
    pub fn new(device: Device) -> Self {
        Self::with(device, &Limits::default())
    }

    /// An empty pool with these limits. On the processor, tensors lie in kept memory from now on, for the whole process.
    pub fn with(device: Device, limits: &Limits) -> Self {
        if device == Device::Cpu
            && let Err(error) = torch_shim::memory::install()
        {
            tracing::warn!(%error, "the memory of tensors is malloc's");
        }
        let budget = limits.budget;
        let on_host = device == Device::Cpu;
        let limit = move |held| if on_host { budget.on_host(held) } else { budget.on_device() };
        Self {
            device,
            shelf: Shelf::new(Box::new(limit)),
            known: Rc::new(RefCell::new(Known::new(Digests::open(limits.cache.as_deref())))),
            learned: Rc::default(),
            user: Rc::default(),
            strained: Rc::default(),
            refused: Rc::default(),
            gathered: Rc::default(),
            watch: Rc::default(),
        }
    }

    /// Where its networks are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The network of `part` that computes in `kind`, built if it is not there. Others that nobody uses leave for it if
    /// they must.
    pub fn lease<N: Network>(&self, part: &Part, kind: Kind) -> Result<Lease<N>> {
        let key = self.key::<N>(part, kind)?;
        let estimate = estimate::of::<N>(part, self.device, kind).bytes;
        self.take(key, part, estimate, || {
            let weights = WeightMap::of(part, self.device, kind)?.with_matrices_as_stored(N::is_read_once);
            let network: Rc<dyn Any> = Rc::new(N::open(part, &weights)?);
            let warnings = weights.left_over(N::is_known_spare).into_iter().collect();
            let (bytes, mapped) = weights.taken_bytes();
            Ok(Loaded { value: Built { network, warnings, pages: weights.pages() }, bytes, mapped })
        })
    }

    /// What a network will take on this device, or takes if it is there; for a [`Plan`].
    pub fn need<N: Network>(&self, part: &Part, kind: Kind) -> Result<Need> {
        let key = self.key::<N>(part, kind)?;
        let there = self.shelf.with(|ledger| ledger.entry(key).map(|entry| (entry.bytes, entry.mapped)));
        let estimate = estimate::of::<N>(part, self.device, kind);
        let (bytes, mapped) = there.unwrap_or((estimate.bytes, estimate.mapped));
        Ok(Need { key, class: part.class.clone(), kind, bytes, mapped })
    }

    /// From now on `user` leases, whoever that is; components are shared by as many as have leased them.
    pub fn used_by(&self, user: u64) {
        self.user.set(Some(user));
    }

    /// `user` is gone. What nobody else leases goes too.
    pub fn forget(&self, user: u64) {
        let unused = self.known.borrow_mut().forget_user(user);
        for key in unused {
            self.shelf.evict(key);
        }
        self.known.borrow_mut().forget_unused(|key| self.shelf.with(|ledger| ledger.entry(key).is_some()));
    }

    /// Gives back the working memory that is kept between steps: for the time when nothing is computed.
    pub fn rest(&self) {
        if self.device == Device::Cpu
            && let Err(error) = torch_shim::memory::release_idle()
        {
            tracing::warn!(%error, "working memory stays with the process");
        }
    }

    /// Lets go of every network that nobody uses.
    pub fn clear(&self) {
        self.shelf.evict_idle();
    }

    /// Memory ran out in the middle: lets go of what nobody uses, and has the next job done in the most frugal way.
    pub fn strain(&self) {
        self.strained.set(true);
        self.clear();
    }

    /// Does `load`, with none of the networks that it leases leaving for another of them: it runs out of memory when they
    /// do not fit together.
    pub fn load_together(&self, load: impl FnOnce() -> Result<()>) -> Result<()> {
        let gathering = Gathering(self);
        *self.gathered.borrow_mut() = Some(Vec::new());
        let loaded = load();
        drop(gathering);
        self.tell();
        loaded
    }

    /// Whether the last job that asked to be admitted was refused.
    pub fn has_refused(&self) -> bool {
        self.refused.get()
    }

    /// Has `watch` called whenever a phase begins or ends.
    pub fn watch(&self, watch: impl Fn(&Self) + 'static) {
        self.watch.borrow_mut().0 = Some(Box::new(watch));
    }

    fn tell(&self) {
        if let Some(watch) = &self.watch.borrow().0 {
            watch(self);
        }
    }

    fn key<N: Network>(&self, part: &Part, kind: Kind) -> Result<Key> {
        let mut known = self.known.borrow_mut();
        let component = known.component::<N>(part)?;
        if let Some(user) = self.user.get() {
            known.note_user(component, user);
        }
        Ok(known.key(component, kind))
    }

    fn take<N: Network>(
        &self,
        key: Key,
        part: &Part,
        estimate: u64,
        load: impl FnOnce() -> Result<Loaded<Built>>,
    ) -> Result<Lease<N>> {
        match self.shelf.lease(key, estimate, load) {
            Ok(hold) => {
                if let Some(gathered) = self.gathered.borrow_mut().as_mut() {
                    self.shelf.pin(key, true);
                    gathered.push(key);
                }
                Lease::of(hold)
            }
            Err(Failure::Load(error)) => Err(error),
            Err(Failure::Loading) => Err(Error::internal(format!("{} is asked for while it is loaded", part.name))),
            Err(Failure::Shortage(shortage)) => Err(self.no_room(&part.name, shortage)),
        }
    }

    fn no_room(&self, what: &str, Shortage { needed, free }: Shortage) -> Error {
        let (needed, free, device) = (report::size(needed), report::size(free), report::device(self.device));
        Error::new(EngineErrorKind::OutOfMemory, format!("{what} needs {needed} on {device}, {free} can be made free"))
            .with_hint("give the engine more memory, or ask for a smaller picture or a smaller type of numbers")
    }
}

/// Lets what was loaded together go again, also after a panic.
struct Gathering<'a>(&'a Pool);

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        for key in self.0.gathered.borrow_mut().take().into_iter().flatten() {
            self.0.shelf.pin(key, false);
        }
    }
}
