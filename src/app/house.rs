//! The threads on which providers are asked. What is asked of them is the gateway's business.

use tokio::runtime::Runtime;

use super::MAX_WORKERS;
use crate::gateway::Gateway;

/// Where providers are asked: threads that outlive those of the HTTP server, which end with their last connection.
pub(super) struct House {
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl House {
    pub(super) fn build() -> std::io::Result<Self> {
        // Half the cores: with as many threads as cores, each piece of an answer wakes another one, which costs more
        // than reading it.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / 2).clamp(1, MAX_WORKERS);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime
            .worker_threads(threads)
            .thread_name("providers")
            .enable_all()
            .build()
            .map(|runtime| Self { runtime: Some(runtime) })
    }

    pub(super) fn take_in(&self, gateway: &Gateway) {
        if let Some(runtime) = &self.runtime {
            gateway.run_on(runtime.handle().clone());
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for it would block the thread that serves.
            runtime.shutdown_background();
        }
    }
}
