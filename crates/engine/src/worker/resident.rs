//! The model that a device keeps open between jobs, and the running of one job with it.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use std::{fs, io};

use easel_engine_protocol::{
    Dtype, EngineErrorKind, Event, GenerateJob, InputImage, LoadedModel, ModelSource, Timings,
};

use super::device::DeviceName;
use super::job::Task;
use super::open::Open;
use super::progress::Progress;
use crate::pictures::{self, Backdrop};
use crate::pipelines::{Pipeline, Request};
use crate::pool::Pool;
use crate::{Error, Result};

pub(super) struct Resident {
    device: DeviceName,
    open: Open,
    pool: Pool,
    current: Option<OpenModel>,
}

struct OpenModel {
    source: ModelSource,
    dtype: Dtype,
    stamp: Stamp,
    pipeline: Box<dyn Pipeline>,
}

impl Resident {
    pub(super) fn new(device: DeviceName, open: Open) -> Self {
        Self { device, open, pool: Pool::new(device.torch()), current: None }
    }

    pub(super) fn loaded(&self) -> Option<LoadedModel> {
        self.current.as_ref().map(|current| LoadedModel {
            path: current.source.path.clone(),
            device: self.device.to_string(),
            dtype: current.dtype,
        })
    }

    /// Closes the model.
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.pool.clear();
    }

    /// Runs a job to its end. Out of memory: closes the model, which frees the most that can be freed, and tries once more.
    pub(super) fn run(&mut self, task: &Task) -> Result<Timings> {
        let mut progress = Progress::new(task);
        match self.attempt(task, &mut progress) {
            Err(error) if error.kind() == EngineErrorKind::OutOfMemory => {
                tracing::warn!(device = %self.device, "out of memory; the model is closed and the job tried once more");
                self.forget();
                self.attempt(task, &mut progress).inspect_err(|_| self.forget())?;
            }
            result => result?,
        }
        progress.finish()
    }

    fn attempt(&mut self, task: &Task, progress: &mut Progress<'_>) -> Result<()> {
        let job = &task.request;
        // Before the model, which may take long: what cannot be read is told at once.
        let request = request_of(job)?;
        let dtype = job.dtype.unwrap_or(self.device.default_dtype());
        self.open_model(&job.model, dtype, progress)?;
        if task.cancel.is_set() {
            return Err(Error::cancelled());
        }
        let Some(current) = &self.current else {
            return Err(Error::internal("the model was opened and is gone"));
        };
        progress.begin();
        current.pipeline.generate(&request, &self.pool, progress)?;
        Ok(())
    }

    /// Opens the model if another one is open, or if its files have changed since. The open one is closed only when the
    /// new one stands.
    fn open_model(&mut self, source: &ModelSource, dtype: Dtype, progress: &mut Progress<'_>) -> Result<()> {
        let stamp = Stamp::of(&source.path);
        let is_open = self.current.as_ref().is_some_and(|current| {
            current.source == *source
                && current.dtype == dtype
                && stamp.as_ref().is_ok_and(|stamp| *stamp == current.stamp)
        });
        if is_open {
            return Ok(());
        }
        progress.send(Event::Loading);
        let begun = Instant::now();
        let pipeline = (self.open)(source, self.device.torch(), dtype)?;
        pipeline.load(&self.pool)?;
        let stamp = stamp.map_err(|error| Error::broken(format!("{}: {error}", source.path.display())))?;
        self.current = Some(OpenModel { source: source.clone(), dtype, stamp, pipeline });
        self.pool.clear();
        let ms = progress.loaded(begun.elapsed());
        tracing::info!(model = %source.path.display(), device = %self.device, ?dtype, ms, "model opened");
        Ok(())
    }
}

/// The job as the pipelines take it, its pictures read.
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

/// Name, length and time of every file of a model folder: when they differ, the model on disk is another one.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        let mut add_files = |dir: &Path| -> io::Result<Vec<PathBuf>> {
            let mut dirs = Vec::new();
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                // Follows links: the Hugging Face cache is made of them.
                let Ok(metadata) = fs::metadata(&path) else { continue };
                if metadata.is_dir() {
                    dirs.push(path);
                } else {
                    files.push((path, metadata.len(), metadata.modified().ok()));
                }
            }
            Ok(dirs)
        };
        for dir in add_files(folder)? {
            add_files(&dir)?;
        }
        files.sort();
        Ok(Self(files))
    }
}
