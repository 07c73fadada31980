//! The engine that runs now, if any: started on first use, anew after it ended, later and later if it keeps ending.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::launch::Launch;
use crate::generation::Availability;
use crate::providers::{Error, ErrorKind};

/// The pause after the second end without a picture in between; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A socket's path has at most 108 bytes, of which the engine needs some while it makes the socket.
const MAX_SOCKET_PATH: usize = 90;

/// Keeps at most one engine.
pub(super) struct Supervisor {
    launch: Launch,
    /// An engine without a job for this long is ended.
    idle_timeout: Option<Duration>,
    slot: Arc<Mutex<Slot>>,
}

/// The use of an engine by one request; as long as there is one, the engine is not idle.
pub(super) struct Lease {
    engine: Arc<Engine>,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    engine: Option<Arc<Engine>>,
    /// Engines started so far; each has a socket of its own, so that a dying one cannot take its successor's away.
    started: u64,
    /// Ends since the last finished picture.
    ends: u32,
    /// No start before this.
    not_before: Option<Instant>,
    /// Requests that use the engine.
    leases: u32,
    /// When the last of them was done.
    idle_since: Option<Instant>,
}

impl Supervisor {
    pub(super) fn new(launch: Launch, idle_timeout: Option<Duration>) -> Self {
        Self { launch, idle_timeout, slot: Arc::default() }
    }

    /// Whether an engine runs or may be started now.
    pub(super) fn availability(&self) -> Availability {
        if self.launch.executable.is_none() {
            return Availability::Unavailable {
                reason: "engine_missing",
                detail: "the executable easel-engine was not found".to_owned(),
                remedy: "run `make build` and start Easel again, or set `engine` to its path".to_owned(),
            };
        }
        let slot = lock(&self.slot);
        match slot.pause() {
            None => Availability::Available,
            Some(pause) => Availability::Unavailable {
                reason: "engine_restarting",
                detail: format!("the engine ended {} times in a row", slot.ends),
                remedy: format!("try again in {} s; the log says why it ended", pause.as_secs() + 1),
            },
        }
    }

    /// The engine that runs, or a new one. It may not be ready yet.
    pub(super) fn lease(&self) -> Result<Lease, Error> {
        let mut slot = lock(&self.slot);
        let engine = self.engine(&mut slot)?;
        slot.leases += 1;
        Ok(Lease { engine, slot: Arc::clone(&self.slot) })
    }

    fn engine(&self, slot: &mut Slot) -> Result<Arc<Engine>, Error> {
        let executable = self
            .launch
            .executable
            .as_deref()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the executable easel-engine was not found"))?;
        if let Some(engine) = slot.engine.as_ref().filter(|engine| engine.is_alive()) {
            return Ok(Arc::clone(engine));
        }
        if let Some(pause) = slot.pause() {
            return Err(Error::new(ErrorKind::Unavailable, format!("the engine ended {} times in a row", slot.ends))
                .with_retry_after(Some(pause)));
        }
        slot.started += 1;
        let socket = self.socket(slot.started);
        let shared = Arc::downgrade(&self.slot);
        let started = Engine::start(&self.launch, executable, socket, move || {
            if let Some(slot) = shared.upgrade() {
                lock(&slot).note_end();
            }
        });
        match started {
            Ok(engine) => {
                if let Some(limit) = self.idle_timeout {
                    end_when_idle(Arc::downgrade(&self.slot), slot.started, limit);
                }
                Ok(Arc::clone(slot.engine.insert(Arc::new(engine))))
            }
            Err(error) => {
                slot.note_end();
                Err(error)
            }
        }
    }

    fn socket(&self, number: u64) -> PathBuf {
        let name = format!("{}-{}-{number}.sock", self.launch.id, std::process::id());
        let usual = self.launch.data_dir.join("run").join(&name);
        if usual.as_os_str().len() <= MAX_SOCKET_PATH {
            return usual;
        }
        // A name that nobody can have taken before us; the engine makes the folder for this user only.
        let folder = format!("easel-{}", uuid::Uuid::new_v4().simple());
        Path::new(&std::env::temp_dir()).join(folder).join("engine.sock")
    }
}

impl Lease {
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A picture was finished: whatever ended engines before has passed.
    pub(super) fn note_success(&self) {
        let mut slot = lock(&self.slot);
        slot.ends = 0;
        slot.not_before = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut slot = lock(&self.slot);
        slot.leases = slot.leases.saturating_sub(1);
        slot.idle_since = Some(Instant::now());
    }
}

/// Watches engine number `number` on a thread of its own and ends it when nobody has used it for `limit`.
fn end_when_idle(slot: Weak<Mutex<Slot>>, number: u64, limit: Duration) {
    let watching = std::thread::Builder::new().name("engine idle".to_owned()).spawn(move || {
        let mut pause = limit;
        loop {
            std::thread::sleep(pause);
            let Some(slot) = slot.upgrade() else { return };
            let mut slot = lock(&slot);
            if slot.started != number || slot.engine.is_none() {
                return;
            }
            let idle = match slot.idle_since {
                Some(since) if slot.leases == 0 => since.elapsed(),
                Some(_) | None => Duration::ZERO,
            };
            if idle >= limit {
                let engine = slot.engine.take();
                drop(slot);
                tracing::info!(idle_s = idle.as_secs(), "the engine is ended because nobody uses it");
                drop(engine);
                return;
            }
            pause = limit.saturating_sub(idle);
        }
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "the engine will not be ended when it is idle");
    }
}

impl Slot {
    /// An engine ended without being told to.
    fn note_end(&mut self) {
        self.ends = self.ends.saturating_add(1);
        self.not_before = pause_after(self.ends).map(|pause| Instant::now() + pause);
    }

    /// The time until the next start is allowed, unless it is now.
    fn pause(&self) -> Option<Duration> {
        let pause = self.not_before?.saturating_duration_since(Instant::now());
        (!pause.is_zero()).then_some(pause)
    }
}

/// The pause before the next start after this many ends in a row: none after the first.
fn pause_after(ends: u32) -> Option<Duration> {
    let doublings = ends.checked_sub(2)?;
    Some(FIRST_PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST_PAUSE))
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
