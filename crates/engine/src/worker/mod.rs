//! Jobs and the threads that run them: one OS thread per device owns every tensor, everything around it is async.
//! It checks jobs at the door, queues, reports progress, cancels, and keeps the last model open. No HTTP, no files written.

mod device;
mod job;
mod lane;
mod limits;
mod open;
mod progress;
mod queue;
mod resident;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use easel_engine_protocol::{EngineErrorKind, Event, GenerateJob, LoadedModel};
use tokio::time::{Instant, sleep};

pub use device::DeviceName;
pub use job::{Job, JobOptions};
pub use limits::MAX_PROMPT_BYTES;
pub use open::{Open, open_model};

use crate::{Error, Result};
use lane::Lane;

/// How often closing looks whether the devices are idle.
const IDLE_POLL: Duration = Duration::from_millis(20);
/// How long a cancelled job may take to notice; a step of a large picture on a slow processor is the longest.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// The engine's devices and their queues. Cloning gives another handle to the same ones.
#[derive(Clone)]
pub struct Worker {
    lanes: Arc<[Lane]>,
    closed: Arc<AtomicBool>,
}

impl Worker {
    /// Starts a thread for each device; the first device is the default. `threads` is libtorch's number of threads
    /// for one operation on the processor, its own choice when absent.
    pub fn start(devices: &[DeviceName], threads: Option<u16>, open: &Open) -> io::Result<Self> {
        let lanes = devices
            .iter()
            .map(|device| Lane::start(*device, threads, Arc::clone(open)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { lanes: lanes.into(), closed: Arc::default() })
    }

    /// Takes a job, or refuses it at once: it asks for something that cannot be, the device is not there, or too many wait.
    pub fn submit(&self, request: GenerateJob, options: JobOptions) -> Result<Job> {
        limits::check(&request)?;
        let lane = self.lane(request.device.as_deref())?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(EngineErrorKind::Overloaded, "the engine is shutting down"));
        }
        lane.submit(request, options)
    }

    fn lane(&self, device: Option<&str>) -> Result<&Lane> {
        let Some(name) = device else {
            return self.lanes.first().ok_or_else(|| Error::internal("the engine has no device"));
        };
        let wanted: DeviceName = name.parse()?;
        self.lanes.iter().find(|lane| lane.device() == wanted).ok_or_else(|| {
            let names: Vec<_> = self.devices().map(|device| device.to_string()).collect();
            Error::new(EngineErrorKind::DeviceUnavailable, format!("there is no device `{wanted}`"))
                .with_hint(format!("this engine computes on: {}", names.join(", ")))
        })
    }

    /// The devices; the first is the default.
    pub fn devices(&self) -> impl Iterator<Item = DeviceName> + '_ {
        self.lanes.iter().map(Lane::device)
    }

    /// Models that are open now.
    pub fn models(&self) -> Vec<LoadedModel> {
        self.lanes.iter().filter_map(Lane::loaded).collect()
    }

    /// Jobs that wait for a device.
    pub fn queued(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.queue().waiting()).sum()
    }

    /// Jobs that run.
    pub fn running(&self) -> u32 {
        self.lanes.iter().map(|lane| u32::from(lane.queue().is_running())).sum()
    }

    /// Whether a device failed in a way that only a new process cures.
    pub fn is_lost(&self) -> bool {
        self.lanes.iter().any(Lane::is_lost)
    }

    /// Takes no more jobs, fails those that wait, gives the running ones `grace` to end and then cancels them.
    /// True when every device came to rest.
    pub async fn close(&self, grace: Duration) -> bool {
        self.closed.store(true, Ordering::Release);
        for lane in self.lanes.iter() {
            lane.queue().close(|| Event::Failed { error: shutting_down() });
        }
        if self.rest(grace).await {
            return true;
        }
        for lane in self.lanes.iter() {
            lane.queue().cancel_running();
        }
        self.rest(CANCEL_LIMIT).await
    }

    async fn rest(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.running() > 0 {
            if Instant::now() >= end {
                return false;
            }
            sleep(IDLE_POLL).await;
        }
        true
    }
}

fn shutting_down() -> easel_engine_protocol::EngineError {
    Error::new(EngineErrorKind::Cancelled, "the job was cancelled: the engine is shutting down").into()
}

#[cfg(test)]
mod tests;
