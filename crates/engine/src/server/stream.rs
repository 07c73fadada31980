//! A job's events as the body of an answer: one JSON object a line.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, sleep};

use crate::worker::Job;

/// Counts the answers that are still being written.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenStreams(Arc<AtomicUsize>);

impl OpenStreams {
    /// Waits until every stream was written to its end, but not for long.
    pub(super) async fn wait_until_closed(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.0.load(Ordering::Acquire) > 0 && Instant::now() < end {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The events of a job. Dropped with the connection, and the job with it.
pub(super) struct EventStream {
    job: Job,
    open: OpenStreams,
}

impl EventStream {
    pub(super) fn new(job: Job, open: &OpenStreams) -> Self {
        open.0.fetch_add(1, Ordering::AcqRel);
        Self { job, open: open.clone() }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Stream for EventStream {
    type Item = serde_json::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(event) = ready!(self.job.poll_next(cx)) else {
            return Poll::Ready(None);
        };
        let line = serde_json::to_vec(&event).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Poll::Ready(Some(line))
    }
}
