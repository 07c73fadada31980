//! Tasks that were sent and whose fate is not known yet, so that the next attempt of the same turn asks for them before
//! it sends anything. The providers of all keys of a section share them. Nothing here talks to anybody.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::generation::{GenerationRequest, Seed};
use crate::providers::{Call, Turn};
use crate::secret::Secret;

/// The open tasks of one provider. What a turn left behind goes when the turn is over.
#[derive(Default)]
pub(super) struct OpenTasks(Arc<Mutex<Vec<Entry>>>);

struct Entry {
    id: Uuid,
    turn: Turn,
    part: Part,
    /// What it was sent with: another key may belong to another account.
    key: Secret,
    /// Whether an attempt holds it right now: parts of one turn may be alike.
    is_held: bool,
}

/// What tells the parts apart into which a large count is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    count: NonZeroU32,
    seed: Option<Seed>,
}

/// One attempt's hold of its task. However the attempt ends, by its own will or by being dropped, the task stays known
/// until it is closed.
pub(super) struct Open {
    tasks: Arc<Mutex<Vec<Entry>>>,
    id: Uuid,
    turn: Turn,
    part: Part,
    key: Secret,
    was_sent: bool,
}

impl OpenTasks {
    /// The task that an earlier attempt of the same turn has left open, with its key; else a new one with this `key`.
    pub(super) fn open(&self, request: &GenerationRequest, call: &Call, key: &Secret) -> Open {
        let (turn, part) = (call.turn(), Part { count: request.count, seed: request.seed });
        let mut tasks = lock(&self.0);
        tasks.retain(|entry| !entry.turn.is_over());
        let left = tasks.iter_mut().find(|entry| !entry.is_held && entry.turn == turn && entry.part == part);
        let earlier = left.map(|entry| {
            entry.is_held = true;
            (entry.id, entry.key.clone())
        });
        drop(tasks);
        let was_sent = earlier.is_some();
        let (id, key) = earlier.unwrap_or_else(|| (Uuid::new_v4(), key.clone()));
        Open { tasks: Arc::clone(&self.0), id, turn, part, key, was_sent }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl Open {
    /// The task's identity.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// What it is sent with.
    pub(super) fn key(&self) -> &Secret {
        &self.key
    }

    /// Whether it may have reached the vendor.
    pub(super) fn was_sent(&self) -> bool {
        self.was_sent
    }

    /// Remembers the task; to be said right before it is sent.
    pub(super) fn sending(&mut self) {
        if !self.was_sent {
            self.was_sent = true;
            let (id, turn, part, key) = (self.id, self.turn.clone(), self.part, self.key.clone());
            lock(&self.tasks).push(Entry { id, turn, part, key, is_held: true });
        }
    }

    /// Forgets the task: its fate is known, or it never left.
    pub(super) fn close(&mut self) {
        self.was_sent = false;
        lock(&self.tasks).retain(|entry| entry.id != self.id);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(entry) = lock(&self.tasks).iter_mut().find(|entry| entry.id == self.id) {
            entry.is_held = false;
        }
    }
}

fn lock(tasks: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Open, OpenTasks};
    use crate::generation::{GenerationRequest, ModelKey, Seed};
    use crate::providers::Call;
    use crate::providers::scripted::request;
    use crate::secret::{Secret, SecretRef};

    fn call() -> Call {
        Call::new(ModelKey::new("m"), Instant::now() + Duration::from_secs(1), "r")
    }

    fn key(variable: &str) -> Secret {
        SecretRef { env: variable.to_owned() }.resolve().unwrap()
    }

    fn open(tasks: &OpenTasks, request: &GenerationRequest, call: &Call) -> Open {
        // Cargo sets it for every test.
        tasks.open(request, call, &key("CARGO_PKG_NAME"))
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_finds_what_the_one_before_it_left() {
        let (tasks, turn) = (OpenTasks::default(), call());
        let mut first = open(&tasks, &request(), &turn);
        assert!(!first.was_sent());
        first.sending();
        let id = first.id();
        // Nobody else's: not another turn's, not another part's, and not while it is held.
        let other_part = GenerationRequest { seed: Some(Seed::from(3)), ..request() };
        for other in
            [open(&tasks, &request(), &call()), open(&tasks, &other_part, &turn), open(&tasks, &request(), &turn)]
        {
            assert!(!other.was_sent() && other.id() != id);
        }
        drop(first);
        let mut second = tasks.open(&request(), &turn.clone(), &key("CARGO_PKG_VERSION"));
        assert!(second.was_sent() && second.id() == id);
        assert_eq!(second.key().expose(), key("CARGO_PKG_NAME").expose());
        second.close();
        assert!(!open(&tasks, &request(), &turn).was_sent());
        assert_eq!(tasks.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_turn_left_goes_with_it() {
        let (tasks, turn) = (OpenTasks::default(), call());
        open(&tasks, &request(), &turn).sending();
        assert_eq!(tasks.len(), 1);
        drop(turn);
        let _later = open(&tasks, &request(), &call());
        assert_eq!(tasks.len(), 0);
    }
}
