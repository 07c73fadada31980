//! One device: its queue and the thread that owns its tensors.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use easel_engine_protocol::{EngineErrorKind, Event, GenerateJob, LoadedModel, Timings};

use super::device::DeviceName;
use super::job::{Job, JobOptions, Task};
use super::open::Open;
use super::queue::Queue;
use super::resident::Resident;
use crate::{Error, Result};

/// A device with its queue.
pub(super) struct Lane {
    shared: Arc<Shared>,
}

/// What the thread and its callers share; no tensors.
struct Shared {
    device: DeviceName,
    queue: Queue,
    loaded: Mutex<Option<LoadedModel>>,
    lost: AtomicBool,
}

impl Lane {
    pub(super) fn start(device: DeviceName, threads: Option<u16>, open: Open) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            device,
            queue: Queue::default(),
            loaded: Mutex::default(),
            lost: AtomicBool::new(false),
        });
        let lane = Self { shared: Arc::clone(&shared) };
        thread::Builder::new().name(device.to_string()).spawn(move || {
            // OpenMP keeps the number of threads per calling thread, so it is set by the thread that computes.
            if let Some(threads) = threads {
                tch::set_num_threads(i32::from(threads));
            }
            shared.run(open);
        })?;
        Ok(lane)
    }

    pub(super) fn submit(&self, request: GenerateJob, options: JobOptions) -> Result<Job> {
        let (task, job) = Task::new(request, options);
        self.shared.queue.push(task)?;
        Ok(job)
    }

    pub(super) fn device(&self) -> DeviceName {
        self.shared.device
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    pub(super) fn loaded(&self) -> Option<LoadedModel> {
        self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }
}

/// The last handle is gone: the thread ends after the job that it runs.
impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.queue.close(|| Event::Failed { error: Error::cancelled().into() });
    }
}

impl Shared {
    fn run(&self, open: Open) {
        let mut resident = Resident::new(self.device, open);
        while let Some(running) = self.queue.pop() {
            let outcome = self.run_job(&mut resident, &running.task);
            let event = match outcome {
                Ok(timings) => Event::Done { timings },
                Err(error) => {
                    self.note_failure(&error);
                    Event::Failed { error: error.into() }
                }
            };
            // The device is idle before anyone hears the last event, so that who then asks for the status sees it.
            let loaded = resident.loaded();
            *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
            running.finish(event);
        }
    }

    /// A panic ends the job, not the process; what the panic left half done is dropped with the model.
    fn run_job(&self, resident: &mut Resident, task: &Task) -> Result<Timings> {
        catch_unwind(AssertUnwindSafe(|| resident.run(task))).unwrap_or_else(|panic| {
            resident.forget();
            let text = panic_text(panic.as_ref());
            Err(Error::internal(format!("the job on {} ended in a panic: {text}", self.device)))
        })
    }

    fn note_failure(&self, error: &Error) {
        match error.kind() {
            EngineErrorKind::Cancelled => tracing::debug!(device = %self.device, "job cancelled"),
            EngineErrorKind::Internal => {
                tracing::error!(device = %self.device, %error, "job failed");
                if is_lost(self.device) {
                    tracing::error!(device = %self.device, "the device answers no more; only a new process cures that");
                    self.lost.store(true, Ordering::Release);
                }
            }
            EngineErrorKind::InvalidRequest
            | EngineErrorKind::ModelNotFound
            | EngineErrorKind::ModelBroken
            | EngineErrorKind::DeviceUnavailable
            | EngineErrorKind::OutOfMemory
            | EngineErrorKind::Overloaded => {
                tracing::warn!(device = %self.device, kind = ?error.kind(), %error, "job failed");
            }
        }
    }
}

/// Whether a GPU refuses even the smallest operation: after a sticky error the CUDA context never recovers.
fn is_lost(device: DeviceName) -> bool {
    match device {
        DeviceName::Cpu => false,
        DeviceName::Cuda(_) => {
            let options = (tch::Kind::Float, device.torch());
            tch::Tensor::f_ones([1], options).and_then(|ones| ones.f_double_value(&[0])).is_err()
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
