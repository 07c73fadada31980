//! The running of jobs on a device, with the models that it keeps open.

use std::time::Instant;

use easel_engine_protocol::{DeviceStatus, EngineErrorKind, Event, GenerateJob, InputImage, LoadedModel, Timings};

use super::device::DeviceName;
use super::job::Task;
use super::models::Models;
use super::open::Open;
use super::progress::Progress;
use crate::pictures::{self, Backdrop};
use crate::pipelines::{Request, Together};
use crate::pool::{Limits, Pool};
use crate::precision;
use crate::{Error, Result};

pub(super) struct Resident {
    device: DeviceName,
    pool: Pool,
    models: Models,
}

impl Resident {
    pub(super) fn new(device: DeviceName, limits: &Limits, open: Open) -> Self {
        let pool = Pool::with(device.torch(), limits);
        Self { device, models: Models::new(device, open, pool.clone()), pool }
    }

    /// The models that are open, the one used last first.
    pub(super) fn loaded(&self) -> Vec<LoadedModel> {
        self.models.list()
    }

    /// Has `tell` told whenever the use of memory changes.
    pub(super) fn watch(&self, tell: impl Fn(DeviceStatus) + 'static) {
        let device = self.device;
        self.pool.watch(move |pool| tell(status(device, pool)));
    }

    /// How the device's memory is used.
    pub(super) fn status(&self) -> DeviceStatus {
        status(self.device, &self.pool)
    }

    /// Closes the model that was used last, and lets go of all networks: nobody knows in which state they are.
    pub(super) fn forget(&mut self) {
        self.models.forget_last();
        self.pool.clear();
    }

    /// Closes the models at `path`, or all. Gives how many.
    pub(super) fn close(&mut self, path: Option<&std::path::Path>) -> usize {
        self.models.close(path)
    }

    /// Runs jobs that differ in what they show only to their end, together. Out of memory in the middle: lets go of all
    /// networks that nobody uses, and tries once more in the most frugal way.
    pub(super) fn run(&mut self, tasks: &[Task]) -> Vec<Result<Timings>> {
        let mut progresses: Vec<Progress<'_>> = tasks.iter().map(Progress::new).collect();
        let mut results = self.attempt(&mut progresses);
        // A job that was refused before its first step has been told what would fit.
        let is_short = |result: &Result<()>| matches!(result, Err(e) if e.kind() == EngineErrorKind::OutOfMemory);
        if results.iter().any(is_short) && !self.pool.has_refused() {
            tracing::warn!(device = %self.device, "out of memory; all networks are let go of and the job tried once more");
            for (place, result) in results.iter_mut().enumerate().filter(|(_, result)| is_short(result)) {
                let Some(progress) = progresses.get_mut(place) else { continue };
                self.pool.strain();
                progress.send(Event::Warning { message: RAN_OUT.to_owned() });
                let again = self.attempt(std::slice::from_mut(progress)).pop();
                *result = again.unwrap_or_else(|| Err(Error::internal("a job has no result")));
                if is_short(result) {
                    self.pool.clear();
                }
            }
        }
        self.pool.rest();
        results.into_iter().zip(progresses).map(|(result, progress)| result.and_then(|()| progress.finish())).collect()
    }

    /// One result for each job.
    fn attempt(&mut self, progresses: &mut [Progress<'_>]) -> Vec<Result<()>> {
        let jobs = progresses.len();
        self.try_all(progresses).unwrap_or_else(|error| (0..jobs).map(|_| Err(error.clone())).collect())
    }

    fn try_all(&mut self, progresses: &mut [Progress<'_>]) -> Result<Vec<Result<()>>> {
        let Some(first) = progresses.first().map(Progress::job) else {
            return Ok(Vec::new());
        };
        let dtype = first.dtype.unwrap_or(precision::default_dtype(self.device.torch(), first.model.pipeline));
        let begun = Instant::now();
        let mut loads = false;
        let pipeline = self.models.get(&first.model, dtype, || {
            loads = true;
            for progress in progresses.iter() {
                progress.send(Event::Loading);
            }
        })?;
        if loads {
            let took = begun.elapsed();
            let ms = progresses.iter_mut().map(|progress| progress.loaded(took)).max();
            tracing::info!(model = %first.model.path.display(), device = %self.device, ?dtype, ms, "model opened");
        }
        let requests: Vec<Result<Request>> = progresses
            .iter()
            .map(|progress| if progress.is_cancelled() { Err(Error::cancelled()) } else { request_of(progress.job()) })
            .collect();
        let ready = requests.iter().zip(progresses.iter_mut()).filter_map(|(request, progress)| {
            progress.begin();
            Some(Together { request: request.as_ref().ok()?, observer: progress })
        });
        let mut made = pipeline.generate_together(&mut ready.collect::<Vec<_>>(), &self.pool).into_iter();
        let mut result = || made.next().unwrap_or_else(|| Err(Error::internal("a job has no result"))).map(|_| ());
        Ok(requests.iter().map(|request| request.as_ref().map_err(Clone::clone).and_then(|_| result())).collect())
    }
}

/// What who waits is told when memory runs out in the middle.
const RAN_OUT: &str =
    "the device ran out of memory in the middle; the job is tried once more with as little as possible";

fn status(device: DeviceName, pool: &Pool) -> DeviceStatus {
    DeviceStatus { name: device.to_string(), memory: pool.memory(), components: pool.components() }
}

/// The job as the pipelines take it.
fn request_of(job: &GenerateJob) -> Result<Request> {
    let read = |field, input: &Option<InputImage>, backdrop| {
        input.as_ref().map(|input| pictures::read(field, input, backdrop)).transpose()
    };
    Ok(Request {
        prompt: job.prompt.clone(),
        negative_prompt: job.negative_prompt.clone(),
        seeds: job.seeds.clone(),
        steps: job.steps,
        guidance_scale: job.guidance_scale,
        width: job.width,
        height: job.height,
        scheduler: job.scheduler.clone(),
        image: read("image", &job.image, Backdrop::White)?,
        mask: read("mask", &job.mask, Backdrop::Black)?,
        strength: job.strength,
        mask_padding: job.mask_padding,
        loras: job.loras.clone(),
        options: job.options.clone(),
        ..Request::default()
    })
}
