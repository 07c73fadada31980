//! One device: its queue and the thread that owns its tensors.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use easel_engine_protocol::{DeviceStatus, EngineErrorKind, Event, GenerateJob, LoadedModel, Timings};
use tokio::sync::oneshot;

use super::Settings;
use super::device::DeviceName;
use super::job::{Job, JobOptions, Task};
use super::open::Open;
use super::queue::{Next, Queue, Unload};
use super::resident::Resident;
use crate::pool::{Budget, Limits};
use crate::{Error, Result};

/// A device with its queue.
pub(super) struct Lane {
    shared: Arc<Shared>,
}

/// What the thread and its callers share; no tensors.
struct Shared {
    device: DeviceName,
    queue: Queue,
    models: Mutex<Vec<LoadedModel>>,
    status: Mutex<DeviceStatus>,
    lost: AtomicBool,
}

impl Lane {
    pub(super) fn start(device: DeviceName, settings: &Settings, open: Open) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            device,
            queue: Queue::default(),
            models: Mutex::default(),
            status: Mutex::new(DeviceStatus { name: device.to_string(), ..DeviceStatus::default() }),
            lost: AtomicBool::new(false),
        });
        let lane = Self { shared: Arc::clone(&shared) };
        let budget = settings.memory.get(&device).map_or(Budget::Free, |bytes| Budget::Bytes(*bytes));
        let limits = Limits { budget, cache: settings.cache.clone() };
        let (threads, most) = (settings.threads, settings.max_batch);
        thread::Builder::new().name(device.to_string()).spawn(move || {
            // OpenMP keeps the number of threads per calling thread, so it is set by the thread that computes.
            if let Some(threads) = threads {
                tch::set_num_threads(i32::from(threads));
            }
            shared.run(Resident::new(device, &limits, open), most);
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

    /// The open models, the one used last first.
    pub(super) fn models(&self) -> Vec<LoadedModel> {
        lock(&self.shared.models).clone()
    }

    /// How its memory is used.
    pub(super) fn status(&self) -> DeviceStatus {
        lock(&self.shared.status).clone()
    }

    /// Has the models at `path`, or all, closed when no job runs. The answer is how many it were.
    pub(super) fn unload(&self, path: Option<PathBuf>) -> oneshot::Receiver<usize> {
        let (done, closed) = oneshot::channel();
        self.shared.queue.unload(Unload { path, done });
        closed
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
    fn run(self: &Arc<Self>, mut resident: Resident, most: usize) {
        let watcher = Arc::clone(self);
        resident.watch(move |status| *lock(&watcher.status) = status);
        *lock(&self.status) = resident.status();
        while let Some(next) = self.queue.pop(most) {
            let running = match next {
                Next::Jobs(running) => running,
                Next::Unload(unload) => {
                    let closed = resident.close(unload.path.as_deref());
                    self.publish(&resident);
                    // Who asked may be gone; the models are closed all the same.
                    let _ = unload.done.send(closed);
                    continue;
                }
            };
            let outcomes = self.run_jobs(&mut resident, &running.tasks);
            let event = |outcome| match outcome {
                Ok(timings) => Event::Done { timings },
                Err(error) => {
                    self.note_failure(&error);
                    Event::Failed { error: error.into() }
                }
            };
            let events = outcomes.into_iter().map(event).collect();
            // The device is idle before anyone hears the last event, so that who then asks for the status sees it.
            self.publish(&resident);
            running.finish(events);
        }
    }

    fn publish(&self, resident: &Resident) {
        *lock(&self.models) = resident.loaded();
        *lock(&self.status) = resident.status();
    }

    /// A panic ends the jobs, not the process; what the panic left half done is dropped with the model.
    fn run_jobs(&self, resident: &mut Resident, tasks: &[Task]) -> Vec<Result<Timings>> {
        catch_unwind(AssertUnwindSafe(|| resident.run(tasks))).unwrap_or_else(|panic| {
            resident.forget();
            let text = panic_text(panic.as_ref());
            let error = Error::internal(format!("the job on {} ended in a panic: {text}", self.device));
            tasks.iter().map(|_| Err(error.clone())).collect()
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

/// What is written under a lock here is whole at any time, whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
