//! Somebody who looks on while pictures are made.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::generation::PartialImage;

/// Previews that wait for somebody slow; further ones are lost to them.
const WAITING: usize = 4;

/// Whom a request shows what becomes of it.
#[derive(Debug, Clone)]
pub struct Watcher {
    previews: mpsc::Sender<PartialImage>,
    begun: Arc<Notify>,
}

/// What there is to see.
#[derive(Debug)]
pub struct Sight {
    previews: mpsc::Receiver<PartialImage>,
    begun: Arc<Notify>,
}

impl Watcher {
    /// Somebody who looks on, and what they see.
    pub fn new() -> (Self, Sight) {
        let (tell, previews) = mpsc::channel(WAITING);
        let begun = Arc::new(Notify::new());
        (Self { previews: tell, begun: Arc::clone(&begun) }, Sight { previews, begun })
    }

    /// A provider is about to be asked.
    pub(super) fn begin(&self) {
        self.begun.notify_one();
    }

    /// Where previews go.
    pub(super) fn previews(&self) -> mpsc::Sender<PartialImage> {
        self.previews.clone()
    }
}

impl Sight {
    /// Returns when a provider is asked, or somebody else's pictures are waited for: from then on it can take long.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    /// The next preview; `None` when there will be none any more.
    pub async fn preview(&mut self) -> Option<PartialImage> {
        self.previews.recv().await
    }
}
