//! Jobs and the threads that run them: one OS thread per device owns every tensor, everything around it is async.
//! It checks jobs at the door, queues, reports progress, cancels, and keeps models open. No HTTP, no files written.

mod device;
mod job;
mod lane;
mod limits;
mod models;
mod open;
mod progress;
mod queue;
mod resident;
mod stamp;
mod together;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use easel_engine_protocol::{DeviceStatus, EngineErrorKind, Event, GenerateJob, LoadedModel};
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

/// How devices are driven.
#[derive(Debug, Clone)]
pub struct Settings {
    /// libtorch's threads for one operation on the processor; its own choice when absent.
    pub threads: Option<u16>,
    /// Bytes that may be used of a device's memory; what is free, for a device that is not named.
    pub memory: HashMap<DeviceName, u64>,
    /// The folder for what was learnt of model files; kept in memory only when absent.
    pub cache: Option<PathBuf>,
    /// The most pictures that jobs which wait at the same time are put together to; 1 runs every job alone.
    pub max_batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threads: None, memory: HashMap::new(), cache: None, max_batch: 1 }
    }
}

impl Worker {
    /// Starts a thread for each device; the first device is the default. `threads` is libtorch's number of threads
    /// for one operation on the processor, its own choice when absent.
    pub fn start(devices: &[DeviceName], threads: Option<u16>, open: &Open) -> io::Result<Self> {
        Self::start_with(devices, &Settings { threads, ..Settings::default() }, open)
    }

    /// [`Worker::start`] with more to say.
    pub fn start_with(devices: &[DeviceName], settings: &Settings, open: &Open) -> io::Result<Self> {
        let start = |device: &DeviceName| Lane::start(*device, settings, Arc::clone(open));
        let lanes = devices.iter().map(start).collect::<io::Result<Vec<_>>>()?;
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

    /// Models that are open now, for each device those used last first.
    pub fn models(&self) -> Vec<LoadedModel> {
        self.lanes.iter().flat_map(Lane::models).collect()
    }

    /// How the memory of each device is used.
    pub fn status(&self) -> Vec<DeviceStatus> {
        self.lanes.iter().map(Lane::status).collect()
    }

    /// Closes the models at `path`, or all, and lets go of their networks, once no job runs. Gives how many it were.
    pub async fn unload(&self, path: Option<PathBuf>) -> usize {
        let closing: Vec<_> = self.lanes.iter().map(|lane| lane.unload(path.clone())).collect();
        let mut closed = 0;
        for lane in closing {
            // A lane that ends meanwhile closes all it has.
            closed += lane.await.unwrap_or_default();
        }
        closed
    }

    /// Jobs that wait for a device.
    pub fn queued(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.queue().waiting()).sum()
    }

    /// Jobs that run.
    pub fn running(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.queue().running()).sum()
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
