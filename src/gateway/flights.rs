//! Work that is under way: each candidate's turn runs in a task of its own, and everybody who asks for the same
//! pictures meanwhile waits for that one task.
//!
//! When the last one leaves, the work is given up, unless it is to be finished and kept. Whose turn it is, what a
//! failure means and how long anybody may wait are the chain's business, not decided here.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::cache::{Cache, CacheOutcome, free_of_charge};
use super::convert;
use super::health::Ledger;
use super::key::{Keep, Key};
use crate::generation::{Generation, GenerationRequest, Model, ModelId, Wish};
use crate::metrics::Metrics;
use crate::providers::{Call, Error, ErrorKind, Provider};

/// One candidate's turn as one waiter wants it.
pub(super) struct Ticket {
    pub provider: Arc<dyn Provider>,
    /// The provider's position in the registry.
    pub position: usize,
    pub model: ModelId,
    /// What the model can do.
    pub details: Model,
    /// As the model gets it.
    pub request: GenerationRequest,
    /// The wishes that were left out on the way.
    pub ignored: Vec<Wish>,
    /// What the provider is told, should this waiter be the first.
    pub call: Call,
    /// Until when this waiter waits; never after the call's deadline.
    pub deadline: Instant,
    /// The work is finished even when nobody waits any more.
    pub finish: bool,
    /// What the pictures are shared by; `None`: they are this waiter's alone.
    pub key: Option<Key>,
    pub keep: Keep,
}

/// What a waiter gets.
pub(super) struct Landing {
    pub made: Result<Generation, Error>,
    /// Upstream calls that were made for this waiter: none where another one's were waited for, so that the sum over
    /// all answers is what was sent.
    pub calls: u32,
    pub cache: CacheOutcome,
    /// When the provider was done; what came after it was our own work.
    pub answered: Instant,
}

/// All work that is under way, and the pictures that came of it.
pub(super) struct Flights {
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    cache: Cache,
    ledger: Arc<Ledger>,
    /// Tasks that exist, also those that are just being given up.
    running: watch::Sender<usize>,
    metrics: Metrics,
}

#[derive(Default)]
struct Table {
    flights: HashMap<u64, Flight>,
    by_key: HashMap<Key, u64>,
    next: u64,
}

/// One task and who waits for it.
struct Flight {
    key: Option<Key>,
    waiters: usize,
    /// Somebody who waits, or did, wants it finished.
    finish: bool,
    landed: watch::Receiver<Option<Arc<Landed>>>,
    task: AbortHandle,
}

/// How a task ended.
struct Landed {
    made: Result<Generation, Error>,
    calls: u32,
    answered: Instant,
    /// It ended because the time of its first waiter was over; others may have more.
    cut_short: bool,
}

/// A waiter's place; leaving it may end the flight.
struct Seat {
    shared: Arc<Shared>,
    number: u64,
    /// The flight was begun for this waiter.
    first: bool,
    landed: watch::Receiver<Option<Arc<Landed>>>,
}

enum Boarded {
    Kept(Generation),
    Waiting(Seat),
}

impl Flights {
    pub(super) fn new(cache: Cache, ledger: Arc<Ledger>, metrics: Metrics) -> Self {
        let shared = Shared { table: Mutex::default(), cache, ledger, running: watch::Sender::new(0), metrics };
        Self { shared: Arc::new(shared) }
    }

    /// Pictures that are kept for this key.
    pub(super) fn kept(&self, key: &Key) -> Option<Generation> {
        self.shared.cache.get(key)
    }

    /// Bytes of pictures that are kept.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.shared.cache.bytes()
    }

    /// How many tasks there are.
    pub(super) fn running(&self) -> usize {
        *self.shared.running.borrow()
    }

    /// Returns when there is no task.
    pub(super) async fn idle(&self) {
        // The sender is ours, so it cannot be gone.
        let _ = self.shared.running.subscribe().wait_for(|running| *running == 0).await;
    }

    /// Gets the pictures of `ticket`: kept ones, those of a flight that is under way, or new ones. Dropping the future
    /// is leaving.
    pub(super) async fn fly(&self, ticket: Ticket) -> Landing {
        let ticket = Arc::new(ticket);
        loop {
            let mut seat = match self.board(&ticket) {
                Boarded::Waiting(seat) => seat,
                Boarded::Kept(generation) => {
                    let (cache, answered) = (CacheOutcome::Hit, Instant::now());
                    return Landing { made: Ok(generation), calls: 0, cache, answered };
                }
            };
            // The task keeps the time of whom it was begun for, so that what it tells is what the ledger has.
            let landed = if seat.first && !ticket.finish {
                Ok(seat.landed().await)
            } else {
                timeout_at(ticket.deadline, seat.landed()).await
            };
            return match landed {
                Ok(Some(landed)) if landed.cut_short && !seat.first && Instant::now() < ticket.deadline => continue,
                // The first waiter's thread has ended, and the work with it.
                Ok(None) if !seat.first => continue,
                Ok(Some(landed)) => self.landing(&ticket, seat.first, &landed),
                Ok(None) => self.without_pictures(&ticket, seat.first, broken_off()),
                Err(_) => self.without_pictures(&ticket, seat.first, out_of_time()),
            };
        }
    }

    fn board(&self, ticket: &Arc<Ticket>) -> Boarded {
        let mut table = lock(&self.shared.table);
        if let Some(key) = &ticket.key {
            table.forget_broken(key);
            let under_way = table.by_key.get(key).copied();
            if let Some((number, flight)) = under_way.and_then(|number| Some((number, table.flights.get_mut(&number)?)))
            {
                flight.waiters += 1;
                flight.finish |= ticket.finish;
                let landed = flight.landed.clone();
                return Boarded::Waiting(Seat { shared: Arc::clone(&self.shared), number, first: false, landed });
            }
            // Looked up again under the lock: what has landed since is kept by now.
            if let Some(generation) = self.shared.cache.get(key) {
                return Boarded::Kept(generation);
            }
        }
        let number = table.next;
        table.next += 1;
        let (tell, landed) = watch::channel(None);
        let counted = Counted::new(&self.shared);
        let task = fly_out(counted, Arc::clone(&self.shared), number, Arc::clone(ticket), tell);
        // On the first waiter's own thread: no other has to be woken, which costs more than passing on a small picture.
        #[expect(clippy::disallowed_methods, reason = "the table holds the handle, and a shutdown waits for it")]
        let task = tokio::spawn(task).abort_handle();
        if let Some(key) = ticket.key {
            table.by_key.insert(key, number);
        }
        let flight = Flight { key: ticket.key, waiters: 1, finish: ticket.finish, landed: landed.clone(), task };
        table.flights.insert(number, flight);
        Boarded::Waiting(Seat { shared: Arc::clone(&self.shared), number, first: true, landed })
    }

    fn landing(&self, ticket: &Ticket, first: bool, landed: &Landed) -> Landing {
        let made = match &landed.made {
            Ok(generation) if !first => Ok(free_of_charge(generation)),
            made => made.clone(),
        };
        let calls = if first { landed.calls } else { 0 };
        Landing { made, calls, cache: self.outcome(ticket, first), answered: landed.answered }
    }

    fn without_pictures(&self, ticket: &Ticket, first: bool, error: Error) -> Landing {
        let calls = if first { ticket.call.upstream_calls() } else { 0 };
        Landing { made: Err(error), calls, cache: self.outcome(ticket, first), answered: Instant::now() }
    }

    fn outcome(&self, ticket: &Ticket, first: bool) -> CacheOutcome {
        match ticket.keep {
            _ if !first => CacheOutcome::Coalesced,
            Keep::Always if self.shared.cache.is_on() => CacheOutcome::Miss,
            Keep::Always | Keep::Unclaimed | Keep::Never => CacheOutcome::Bypass,
        }
    }
}

/// The task.
async fn fly_out(
    // First among the arguments and so dropped last, after the provider's future.
    _counted: Counted,
    shared: Arc<Shared>,
    number: u64,
    ticket: Arc<Ticket>,
    tell: watch::Sender<Option<Arc<Landed>>>,
) {
    let landed = ticket.make().await;
    let failure = landed.made.as_ref().err().map(|error| error.kind().category());
    shared.ledger.note(ticket.position, failure);
    shared.land(number, &ticket, landed, &tell);
}

impl Ticket {
    async fn make(&self) -> Landed {
        let answered = OnceLock::new();
        let work = async {
            let generation = self.provider.generate(&self.request, &self.call).await;
            answered.get_or_init(Instant::now);
            let mut generation = convert::convert(generation?, &self.request, &self.details).await?;
            generation.ignored = merged(self.ignored.clone(), generation.ignored);
            Ok(generation)
        };
        let made = AssertUnwindSafe(timeout_at(self.call.deadline, work)).catch_unwind().await;
        let made = match made {
            Ok(Ok(made)) => made,
            Ok(Err(_)) => Err(out_of_time()),
            Err(panic) => Err(broken_off().with_source(words(panic.as_ref()))),
        };
        let now = Instant::now();
        let kind = made.as_ref().err().map(Error::kind);
        if let Some(kind @ (ErrorKind::Unauthorized | ErrorKind::ModelNotFound)) = kind {
            // Somebody has to change the configuration: nobody else will notice while the next provider helps out.
            let (model, reason) = (&self.model, kind.category());
            tracing::error!(%model, reason, "a provider needs its configuration changed");
        }
        Landed {
            cut_short: kind == Some(ErrorKind::Timeout) && now >= self.call.deadline,
            calls: self.call.upstream_calls(),
            answered: answered.get().copied().unwrap_or(now),
            made,
        }
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        self.running.send_modify(|running| {
            *running = change(*running);
            self.metrics.set_flights(*running);
        });
    }

    /// Ends a flight: its pictures are kept before it is gone from the table, so that no third request falls between.
    fn land(&self, number: u64, ticket: &Ticket, landed: Landed, tell: &watch::Sender<Option<Arc<Landed>>>) {
        let mut table = lock(&self.table);
        let waiters = table.flights.get(&number).map_or(0, |flight| flight.waiters);
        let keeps = match ticket.keep {
            Keep::Always => true,
            Keep::Unclaimed => waiters == 0,
            Keep::Never => false,
        };
        if let (true, Some(key), Ok(generation)) = (keeps, ticket.key, &landed.made) {
            self.cache.keep(key, generation);
        }
        table.remove(number);
        drop(table);
        if waiters == 0
            && let Err(error) = &landed.made
        {
            let (model, reason) = (&ticket.model, error.kind().category());
            tracing::warn!(%model, reason, %error, "a picture that nobody waited for any more was not made");
        }
        tell.send_replace(Some(Arc::new(landed)));
        self.cache.tidy();
    }
}

impl Table {
    /// Forgets a task that ended without a word, as a thread's tasks do when it ends: what ends otherwise is gone from
    /// the table before it falls silent.
    fn forget_broken(&mut self, key: &Key) {
        let number = self.by_key.get(key).copied();
        let flight = number.and_then(|number| self.flights.get(&number));
        if let (Some(number), Some(flight)) = (number, flight)
            && flight.landed.has_changed().is_err()
        {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Flight> {
        let flight = self.flights.remove(&number)?;
        if let Some(key) = &flight.key {
            self.by_key.remove(key);
        }
        Some(flight)
    }
}

impl Seat {
    /// How the flight ended; `None` if it broke off without a word.
    async fn landed(&mut self) -> Option<Arc<Landed>> {
        self.landed.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = lock(&self.shared.table);
        let Some(flight) = table.flights.get_mut(&self.number) else { return };
        flight.waiters = flight.waiters.saturating_sub(1);
        if flight.waiters == 0 && !flight.finish {
            let flight = table.remove(self.number);
            drop(table);
            if let Some(flight) = flight {
                flight.task.abort();
            }
        }
    }
}

/// Counts a task for as long as it exists.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.count(|running| running + 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count(|running| running.saturating_sub(1));
    }
}

/// The wishes that the gateway and the provider left out, each once, in order.
fn merged(mut ours: Vec<Wish>, theirs: Vec<Wish>) -> Vec<Wish> {
    for wish in theirs {
        if !ours.contains(&wish) {
            ours.push(wish);
        }
    }
    ours
}

fn out_of_time() -> Error {
    Error::new(ErrorKind::Timeout, "the time for the request was over before the provider answered")
}

fn broken_off() -> Error {
    Error::new(ErrorKind::Internal, "the making of the picture broke off")
}

/// What a panic said; for the log.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
