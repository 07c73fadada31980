//! The jobs that wait for one device: first come, first served, with a bound.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use easel_engine_protocol::{EngineErrorKind, Event};

use super::job::{CancelFlag, Task};
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
    running: Option<CancelFlag>,
    closed: bool,
}

/// A job that is being run; the device counts as busy until it is dropped.
pub(super) struct Running<'a> {
    queue: &'a Queue,
    pub(super) task: Task,
}

impl Running<'_> {
    /// Frees the device, then sends the job's last event.
    pub(super) fn finish(self, event: Event) {
        self.queue.lock().running = None;
        self.task.send(event);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.queue.lock().running = None;
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
        let busy = state.running.is_some();
        task.send(Event::Queued { ahead: count(state.waiting.len()) + u32::from(busy) });
        state.waiting.push_back(task);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for the next job; `None` once the queue is closed. Jobs that nobody waits for any more are left out.
    pub(super) fn pop(&self) -> Option<Running<'_>> {
        let mut state = self.lock();
        loop {
            while let Some(task) = state.waiting.pop_front() {
                if task.cancel.is_set() {
                    continue;
                }
                state.running = Some(task.cancel.clone());
                for (place, waiting) in state.waiting.iter().enumerate() {
                    waiting.send(Event::Queued { ahead: count(place) + 1 });
                }
                return Some(Running { queue: self, task });
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
        if let Some(cancel) = &self.lock().running {
            cancel.set();
        }
    }

    pub(super) fn waiting(&self) -> u32 {
        count(self.lock().waiting.iter().filter(|task| !task.cancel.is_set()).count())
    }

    pub(super) fn is_running(&self) -> bool {
        self.lock().running.is_some()
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
