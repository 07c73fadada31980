//! Tasks that were worked on, to be asked for afterwards, and the pictures that can be named in further tasks.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use crate::state::lock;

/// Tasks that are kept, and bytes of all their results; the oldest ones are forgotten.
const KEPT: usize = 1_000;
const KEPT_BYTES: usize = 16 << 20;

/// A task that was worked on.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub uuid: String,
    /// The task as it was sent.
    pub request: Value,
    /// Results as members of objects.
    pub results: Vec<String>,
    pub errors: Vec<Value>,
    /// When the work is over, and how often until then it is said to go on.
    pub ready: Instant,
    pub pending: u32,
}

impl Stored {
    fn bytes(&self) -> usize {
        self.results.iter().map(String::len).sum()
    }
}

/// What can be asked for, of all clients together.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tasks: VecDeque<Stored>,
    bytes: usize,
    images: HashSet<String>,
    /// Frames that could not be delivered, by session.
    undelivered: HashMap<String, Vec<String>>,
    sessions: u64,
}

/// What is known of a task.
pub(super) enum Known {
    Nothing,
    /// Percent that is done.
    Working(u8),
    Done(Stored),
}

impl Tasks {
    pub fn forget(&self) {
        let mut inner = lock(&self.0);
        *inner = Inner { sessions: inner.sessions, ..Inner::default() };
    }

    pub(super) fn has(&self, uuid: &str) -> bool {
        lock(&self.0).tasks.iter().any(|task| task.uuid == uuid)
    }

    pub(super) fn put(&self, task: Stored, images: impl Iterator<Item = String>) {
        let mut inner = lock(&self.0);
        inner.bytes += task.bytes();
        inner.tasks.push_back(task);
        while inner.tasks.len() > 1 && (inner.tasks.len() > KEPT || inner.bytes > KEPT_BYTES) {
            if let Some(oldest) = inner.tasks.pop_front() {
                inner.bytes -= oldest.bytes();
            }
        }
        inner.images.extend(images);
    }

    pub(super) fn put_image(&self, uuid: String) {
        lock(&self.0).images.insert(uuid);
    }

    pub(super) fn has_image(&self, uuid: &str) -> bool {
        lock(&self.0).images.contains(uuid)
    }

    /// Asks for a task, once less to go.
    pub(super) fn ask(&self, uuid: &str) -> Known {
        let mut inner = lock(&self.0);
        let Some(task) = inner.tasks.iter_mut().find(|task| task.uuid == uuid) else {
            return Known::Nothing;
        };
        if task.pending > 0 {
            task.pending -= 1;
            return Known::Working(40);
        }
        if Instant::now() < task.ready { Known::Working(80) } else { Known::Done(task.clone()) }
    }

    /// What was asked and answered, whether or not it is over.
    pub(super) fn details(&self, uuid: &str) -> Option<Value> {
        let inner = lock(&self.0);
        let task = inner.tasks.iter().find(|task| task.uuid == uuid)?;
        let items: Vec<Value> =
            task.results.iter().filter_map(|members| serde_json::from_str(&format!("{{{members}}}")).ok()).collect();
        let response = if task.errors.is_empty() {
            json!({ "data": items })
        } else {
            json!({ "data": items, "errors": task.errors })
        };
        Some(json!({
            "taskType": "getTaskDetails", "taskUUID": uuid, "request": [task.request], "response": response,
        }))
    }

    /// A name for a new session.
    pub(super) fn session(&self) -> String {
        let mut inner = lock(&self.0);
        inner.sessions += 1;
        format!("d1b5f2f0-8e1c-4b4e-8f3a-{:012x}", inner.sessions)
    }

    pub(super) fn keep_frame(&self, session: &str, frame: String) {
        lock(&self.0).undelivered.entry(session.to_owned()).or_default().push(frame);
    }

    pub(super) fn take_frames(&self, session: &str) -> Vec<String> {
        lock(&self.0).undelivered.remove(session).unwrap_or_default()
    }
}
