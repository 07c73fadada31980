//! The jobs that wait for one device: first come, first served, with a bound. Jobs that can run together with the first
//! one are taken with it, where that is wanted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use easel_engine_protocol::{EngineErrorKind, Event};
use tokio::sync::oneshot;

use super::job::{CancelFlag, Task};
use super::together::can_run_together;
use crate::{Error, Result};

/// The most jobs that wait for a device; the gateway has its own limits, this one only keeps memory bounded.
const MAX_WAITING: usize = 64;

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    unloads: VecDeque<Unload>,
    running: Vec<CancelFlag>,
    closed: bool,
}

/// What a device does next.
pub(super) enum Next<'a> {
    Jobs(Running<'a>),
    Unload(Unload),
}

/// Models are to be closed.
pub(super) struct Unload {
    /// Those at this place; absent, all.
    pub(super) path: Option<PathBuf>,
    /// Is told how many were closed.
    pub(super) done: oneshot::Sender<usize>,
}

/// Jobs that are being run; the device counts as busy until this is dropped.
pub(super) struct Running<'a> {
    queue: &'a Queue,
    pub(super) tasks: Vec<Task>,
}

impl Running<'_> {
    /// Frees the device, then sends each job's last event.
    pub(super) fn finish(self, events: Vec<Event>) {
        self.queue.lock().running.clear();
        for (task, event) in self.tasks.iter().zip(events) {
            task.send(event);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.queue.lock().running.clear();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, task: Task) -> Result<()> {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.cancel.is_set());
        if state.closed || state.waiting.len() >= MAX_WAITING {
            return Err(Error::new(EngineErrorKind::Overloaded, format!("{MAX_WAITING} jobs wait already"))
                .with_hint("try again when some of them are done"));
        }
        let busy = !state.running.is_empty();
        task.send(Event::Queued { ahead: count(state.waiting.len()) + u32::from(busy) });
        state.waiting.push_back(task);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for the next jobs, at most `most` pictures together where it is more than one job; `None` once the queue is
    /// closed. Jobs that nobody waits for any more are left out.
    pub(super) fn pop(&self, most: usize) -> Option<Next<'_>> {
        let mut state = self.lock();
        loop {
            if let Some(unload) = state.unloads.pop_front() {
                return Some(Next::Unload(unload));
            }
            while let Some(task) = state.waiting.pop_front() {
                if task.cancel.is_set() {
                    continue;
                }
                let tasks = state.with_others(task, most);
                state.running = tasks.iter().map(|task| task.cancel.clone()).collect();
                for (place, waiting) in state.waiting.iter().enumerate() {
                    waiting.send(Event::Queued { ahead: count(place) + 1 });
                }
                return Some(Next::Jobs(Running { queue: self, tasks }));
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has models closed as soon as no job runs.
    pub(super) fn unload(&self, unload: Unload) {
        self.lock().unloads.push_back(unload);
        self.arrived.notify_one();
    }

    /// Takes no more jobs and ends those that wait with an event.
    pub(super) fn close(&self, last_event: impl Fn() -> Event) {
        let mut state = self.lock();
        state.closed = true;
        for task in state.waiting.drain(..) {
            task.send(last_event());
        }
        drop(state);
        self.arrived.notify_all();
    }

    pub(super) fn cancel_running(&self) {
        self.lock().running.iter().for_each(CancelFlag::set);
    }

    pub(super) fn waiting(&self) -> u32 {
        count(self.lock().waiting.iter().filter(|task| !task.cancel.is_set()).count())
    }

    pub(super) fn running(&self) -> u32 {
        count(self.lock().running.len())
    }
}

impl State {
    /// The task, and those of the waiting ones that can run together with it.
    fn with_others(&mut self, task: Task, most: usize) -> Vec<Task> {
        let mut pictures = task.request.seeds.len();
        let mut tasks = vec![task];
        let mut place = 0;
        while pictures < most
            && let Some(waiting) = self.waiting.get(place)
        {
            let more = waiting.request.seeds.len();
            let fits = pictures + more <= most && !waiting.cancel.is_set();
            let joins = fits && tasks.first().is_some_and(|first| can_run_together(first, waiting));
            if joins {
                pictures += more;
                tasks.extend(self.waiting.remove(place));
            } else {
                place += 1;
            }
        }
        tasks
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
