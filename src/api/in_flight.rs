//! Which requests run now: what a shutdown waits for, and what it says it cut off.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use tokio::sync::Notify;

/// The requests that run, and whether new ones are still welcome.
#[derive(Debug, Default)]
pub struct InFlight {
    running: Mutex<BTreeMap<u64, CutOff>>,
    next: AtomicU64,
    draining: AtomicBool,
    ended: Notify,
}

/// A request that was still running when the process ended.
#[derive(Debug, Clone)]
pub struct CutOff {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its id.
    pub request_id: String,
    /// When it came.
    pub since: Instant,
}

impl InFlight {
    /// From now on only health questions are answered.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns when nothing has been running for a moment; the last bytes are with the system by then.
    pub async fn idle(&self) {
        loop {
            while !self.running().is_empty() {
                // The timeout makes up for an end that fell between the look and the wait.
                let _ = tokio::time::timeout(Duration::from_millis(50), self.ended.notified()).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.running().is_empty() {
                return;
            }
        }
    }

    /// What runs now, oldest first.
    pub fn running(&self) -> Vec<CutOff> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Notes a request until what comes back is dropped.
    pub(super) fn enter(self: &Arc<Self>, request: CutOff) -> Running {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(number, request);
        Running { number, all: Arc::clone(self) }
    }
}

/// Keeps its request noted as running.
#[derive(Debug)]
pub(super) struct Running {
    number: u64,
    all: Arc<InFlight>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.all.ended.notify_waiters();
    }
}

/// A response body that keeps its request noted as running until it is sent.
pub(super) struct RunningBody {
    body: BoxBody,
    _running: Running,
}

impl RunningBody {
    pub(super) fn new(body: BoxBody, running: Running) -> Self {
        Self { body, _running: running }
    }
}

impl MessageBody for RunningBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
