//! A job as its two ends see it: who asked reads events from it, the device thread writes them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use easel_engine_protocol::{Event, GenerateJob};
use tokio::sync::mpsc;

/// What a caller on the same machine may ask of a job beyond the protocol.
#[derive(Debug, Clone, Default)]
pub struct JobOptions {
    /// Writes what the pipeline computed on the way (token ids, embeddings, latents, the decoded image) to this file.
    pub dump: Option<PathBuf>,
}

/// A job that was taken. Dropping it cancels the job within one step.
#[derive(Debug)]
pub struct Job {
    events: mpsc::UnboundedReceiver<Event>,
    cancel: CancelFlag,
}

impl Job {
    /// The next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event, for callers without a runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }

    /// The next event, as streams are polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancel.set();
    }
}

/// Set once, when nobody waits for the job any more.
#[derive(Debug, Clone, Default)]
pub(super) struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The device thread's end of a job.
pub(super) struct Task {
    pub(super) request: GenerateJob,
    pub(super) options: JobOptions,
    pub(super) cancel: CancelFlag,
    pub(super) queued_at: Instant,
    events: mpsc::UnboundedSender<Event>,
}

impl Task {
    /// Both ends of a job. The channel needs no bound: `limits` bounds the pictures of a job, and steps are small.
    pub(super) fn new(request: GenerateJob, options: JobOptions) -> (Self, Job) {
        let (events, receiver) = mpsc::unbounded_channel();
        let cancel = CancelFlag::default();
        let task = Self { request, options, cancel: cancel.clone(), queued_at: Instant::now(), events };
        (task, Job { events: receiver, cancel })
    }

    /// Tells who asked. When nobody listens any more, the cancel flag is set already.
    pub(super) fn send(&self, event: Event) {
        if self.events.send(event).is_err() {
            self.cancel.set();
        }
    }
}
