//! What a pipeline reports, turned into events and timings of a job.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_engine_protocol::{Event, GenerateJob, Timings};
use tch::Tensor;

use super::job::Task;
use crate::adapters::MatchReport;
use crate::pictures::Pixels;
use crate::pipelines::{Observer, Picture};
use crate::{Result, dump, png};

pub(super) struct Progress<'a> {
    task: &'a Task,
    timings: Timings,
    mark: Instant,
    /// Pictures that were sent; a second attempt after memory ran out makes them again.
    sent: u32,
    dump: BTreeMap<String, dump::Copied>,
    /// What went wrong in a report; the job fails with it, for the pipeline cannot be told.
    failure: Option<crate::Error>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(task: &'a Task) -> Self {
        let queued_ms = millis(task.queued_at.elapsed());
        let timings = Timings { queued_ms, ..Timings::default() };
        Self { task, timings, mark: Instant::now(), sent: 0, dump: BTreeMap::new(), failure: None }
    }

    pub(super) fn send(&self, event: Event) {
        self.task.send(event);
    }

    /// What was asked for.
    pub(super) fn job(&self) -> &'a GenerateJob {
        &self.task.request
    }

    /// Whether nobody waits any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.task.cancel.is_set()
    }

    /// The model took this long to open; in milliseconds as the timings have it.
    pub(super) fn loaded(&mut self, took: Duration) -> u64 {
        let took = millis(took);
        self.timings.load_ms += took;
        took
    }

    /// The pipeline starts now.
    pub(super) fn begin(&mut self) {
        self.mark = Instant::now();
    }

    /// Writes the dump if one was asked for, and gives the timings.
    pub(super) fn finish(self) -> Result<Timings> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if let Some(path) = &self.task.options.dump {
            dump::write(path, &self.dump)?;
        }
        Ok(self.timings)
    }

    fn lap(&mut self) -> u64 {
        let now = Instant::now();
        let took = now - self.mark;
        self.mark = now;
        millis(took)
    }

    fn encode_and_send(&mut self, image: u32, picture: &Picture) -> Result<()> {
        let file = png::encode(picture.width, picture.height, &picture.rgb)?;
        self.send(Event::Image {
            image,
            seed: picture.seed,
            width: picture.width,
            height: picture.height,
            png_base64: STANDARD.encode(file),
        });
        self.sent = image + 1;
        Ok(())
    }
}

impl Observer for Progress<'_> {
    fn encoded(&mut self) {
        self.timings.encode_ms += self.lap();
    }

    fn step(&mut self, image: u32, step: u32, steps: u32) -> ControlFlow<()> {
        self.timings.denoise_ms += self.lap();
        if self.task.cancel.is_set() || self.failure.is_some() {
            return ControlFlow::Break(());
        }
        self.send(Event::Step { image, step, steps });
        ControlFlow::Continue(())
    }

    fn picture(&mut self, image: u32, picture: &Picture) {
        if image >= self.sent
            && let Err(error) = self.encode_and_send(image, picture)
        {
            self.failure = Some(error);
        }
        self.timings.decode_ms += self.lap();
    }

    fn preview(&mut self, image: u32, step: u32, preview: &Pixels) {
        match png::encode(preview.width, preview.height, &preview.rgb) {
            Ok(file) => self.send(Event::Preview { image, step, png_base64: STANDARD.encode(file) }),
            Err(error) => self.failure = Some(error),
        }
    }

    fn is_cancelled(&mut self) -> bool {
        self.task.cancel.is_set()
    }

    fn adapters(&mut self, reports: &[MatchReport]) {
        self.send(Event::Adapters { adapters: reports.iter().map(MatchReport::told).collect() });
    }

    fn warn(&mut self, message: &str) {
        self.send(Event::Warning { message: message.to_owned() });
    }

    fn dump(&mut self, name: &str, tensor: &Tensor) {
        if self.task.options.dump.is_none() {
            return;
        }
        match dump::Copied::of(tensor) {
            Ok(copied) => {
                self.dump.insert(name.to_owned(), copied);
            }
            Err(error) => self.failure = Some(error),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
