//! The model that a device keeps open between jobs, and the running of one job with it.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use std::{fs, io};

use easel_engine_protocol::{Dtype, EngineErrorKind, Event, LoadedModel, ModelSource, Timings};

use super::device::DeviceName;
use super::job::Task;
use super::open::{Model, Open};
use super::progress::Progress;
use crate::pipelines::TextToImage;
use crate::{Error, Result};

pub(super) struct Resident {
    device: DeviceName,
    open: Open,
    current: Option<OpenModel>,
}

struct OpenModel {
    source: ModelSource,
    dtype: Dtype,
    stamp: Stamp,
    model: Box<dyn Model>,
}

impl Resident {
    pub(super) fn new(device: DeviceName, open: Open) -> Self {
        Self { device, open, current: None }
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
        let request = &task.request;
        let dtype = request.dtype.unwrap_or(self.device.default_dtype());
        let model = self.model(&request.model, dtype, progress)?;
        if task.cancel.is_set() {
            return Err(Error::cancelled());
        }
        let request = TextToImage {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            seeds: request.seeds.clone(),
            steps: request.steps,
            guidance_scale: request.guidance_scale,
            width: request.width,
            height: request.height,
            scheduler: request.scheduler.clone(),
        };
        progress.begin();
        model.generate(&request, progress)?;
        Ok(())
    }

    /// The model, opened if another one is, or if its files have changed since. The open one is closed only when the
    /// new one stands.
    fn model(&mut self, source: &ModelSource, dtype: Dtype, progress: &mut Progress<'_>) -> Result<&dyn Model> {
        let stamp = Stamp::of(&source.path);
        let is_open = self.current.as_ref().is_some_and(|current| {
            current.source == *source
                && current.dtype == dtype
                && stamp.as_ref().is_ok_and(|stamp| *stamp == current.stamp)
        });
        if !is_open {
            progress.send(Event::Loading);
            let begun = Instant::now();
            let model = (self.open)(source, self.device.torch(), dtype)?;
            let stamp = stamp.map_err(|error| Error::broken(format!("{}: {error}", source.path.display())))?;
            self.current = Some(OpenModel { source: source.clone(), dtype, stamp, model });
            let ms = progress.loaded(begun.elapsed());
            tracing::info!(model = %source.path.display(), device = %self.device, ?dtype, ms, "model opened");
        }
        match &self.current {
            Some(current) => Ok(current.model.as_ref()),
            None => Err(Error::internal("the model was opened and is gone")),
        }
    }
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
