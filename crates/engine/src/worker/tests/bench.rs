//! A worker on the processor whose models only count and do what their prompts say.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use easel_engine_protocol::{ModelSource, PipelineKind};
use tempfile::TempDir;

use super::super::*;
use crate::pipelines::{Observer, Picture, Pipeline, Request, Together};
use crate::pool::Pool;

/// How long anything here may take at most; far more than it does.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// A model that does what its prompt says.
struct Counting {
    generated: Arc<AtomicU32>,
    together: Arc<Mutex<Vec<usize>>>,
}

impl Pipeline for Counting {
    fn load(&self, _: &Pool) -> Result<()> {
        Ok(())
    }

    fn generate(&self, request: &Request, _: &Pool, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        let nth = self.generated.fetch_add(1, Ordering::SeqCst);
        observer.encoded();
        let out_of_memory = || Error::new(EngineErrorKind::OutOfMemory, "no memory");
        for (image, seed) in (0..).zip(&request.seeds) {
            for step in 1..=request.steps {
                match request.prompt.as_str() {
                    "panic" => panic!("as asked"),
                    "memory always" => return Err(out_of_memory()),
                    "fails" => return Err(Error::internal("as asked")),
                    "slow" => thread::sleep(Duration::from_millis(20)),
                    _ => {}
                }
                if observer.step(image, step, request.steps).is_break() {
                    return Err(Error::cancelled());
                }
            }
            let side = request.width;
            let rgb = vec![7; 3 * side as usize * side as usize];
            observer.picture(image, &Picture { seed: *seed, width: side, height: side, rgb });
            match request.prompt.as_str() {
                "memory once" if nth == 0 => return Err(out_of_memory()),
                "memory" => return Err(out_of_memory()),
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    /// Steps are made in turn, as in one batch.
    fn generate_together(&self, requests: &mut [Together<'_>], pool: &Pool) -> Vec<Result<Vec<Picture>>> {
        self.together.lock().unwrap().push(requests.len());
        if let [one] = requests {
            return vec![self.generate(one.request, pool, one.observer)];
        }
        let mut results: Vec<Result<Vec<Picture>>> = requests.iter().map(|_| Ok(Vec::new())).collect();
        for one in requests.iter_mut() {
            one.observer.encoded();
        }
        let steps = requests[0].request.steps;
        for step in 1..=steps {
            thread::sleep(Duration::from_millis(5));
            for (one, result) in requests.iter_mut().zip(&mut results).filter(|(_, result)| result.is_ok()) {
                match one.request.prompt.as_str() {
                    "memory always" => *result = Err(Error::new(EngineErrorKind::OutOfMemory, "no memory")),
                    "fails" => *result = Err(Error::internal("as asked")),
                    _ if one.observer.step(0, step, steps).is_break() => *result = Err(Error::cancelled()),
                    _ => {}
                }
            }
        }
        for (one, _) in requests.iter_mut().zip(&results).filter(|(_, result)| result.is_ok()) {
            let (seed, side) = (one.request.seeds[0], one.request.width);
            let rgb = vec![7; 3 * side as usize * side as usize];
            one.observer.picture(0, &Picture { seed, width: side, height: side, rgb });
        }
        results
    }
}

/// A worker on the processor, and what its models counted.
pub(super) struct Bench {
    pub(super) worker: Worker,
    opened: Arc<AtomicU32>,
    pub(super) generated: Arc<AtomicU32>,
    /// How many jobs ran together each time.
    pub(super) together: Arc<Mutex<Vec<usize>>>,
    pub(super) models: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_batches(1)
    }

    pub(super) fn with_batches(max_batch: usize) -> Self {
        let (opened, generated) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let (open_count, generate_count) = (Arc::clone(&opened), Arc::clone(&generated));
        let together = Arc::<Mutex<Vec<usize>>>::default();
        let batches = Arc::clone(&together);
        let open: Open = Arc::new(move |source: &ModelSource, _, _| {
            open_count.fetch_add(1, Ordering::SeqCst);
            if source.path.ends_with("broken") {
                return Err(Error::broken("broken"));
            }
            let (generated, together) = (Arc::clone(&generate_count), Arc::clone(&batches));
            Ok(Box::new(Counting { generated, together }) as Box<dyn Pipeline>)
        });
        let models = TempDir::new().unwrap();
        for name in ["one", "two", "broken"] {
            std::fs::create_dir(models.path().join(name)).unwrap();
        }
        let settings = Settings { max_batch, ..Settings::default() };
        let worker = Worker::start_with(&[DeviceName::Cpu], &settings, &open).unwrap();
        Self { worker, opened, generated, together, models }
    }

    pub(super) fn job(&self, prompt: &str) -> GenerateJob {
        GenerateJob {
            seeds: vec![7],
            steps: 3,
            guidance_scale: 5.0,
            width: 8,
            height: 8,
            ..GenerateJob::new(ModelSource::whole(self.models.path().join("one"), PipelineKind::Sdxl), prompt)
        }
    }

    pub(super) fn with_model(&self, name: &str) -> GenerateJob {
        let path = self.models.path().join(name);
        GenerateJob { model: ModelSource::whole(path, PipelineKind::Sdxl), ..self.job("") }
    }

    pub(super) fn submit(&self, request: GenerateJob) -> Job {
        self.worker.submit(request, JobOptions::default()).unwrap()
    }

    pub(super) fn run(&self, request: GenerateJob) -> Vec<Event> {
        to_end(self.submit(request))
    }

    pub(super) fn opened(&self) -> u32 {
        self.opened.load(Ordering::SeqCst)
    }

    /// A job that runs for many seconds, once it has made its first step.
    pub(super) fn slow(&self) -> Job {
        let mut job = self.submit(GenerateJob { steps: 1000, ..self.job("slow") });
        while !matches!(job.blocking_next().unwrap(), Event::Step { .. }) {}
        job
    }

    pub(super) fn wait_until_idle(&self) {
        let begun = Instant::now();
        while self.worker.running() + self.worker.queued() > 0 {
            assert!(begun.elapsed() < LIMIT, "the worker does not come to rest");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// All events of a job, in bounded time.
pub(super) fn to_end(mut job: Job) -> Vec<Event> {
    let (done, all) = mpsc::channel();
    thread::Builder::new()
        .spawn(move || {
            let mut events = Vec::new();
            while let Some(event) = job.blocking_next() {
                events.push(event);
            }
            done.send(events).unwrap();
        })
        .unwrap();
    all.recv_timeout(LIMIT).expect("the job does not end")
}

pub(super) fn failure(events: &[Event]) -> EngineErrorKind {
    match events.last() {
        Some(Event::Failed { error }) => error.kind,
        other => panic!("not a failure: {other:?}"),
    }
}

pub(super) fn images(events: &[Event]) -> Vec<u32> {
    let image = |event: &Event| if let Event::Image { image, .. } = event { Some(*image) } else { None };
    events.iter().filter_map(image).collect()
}

pub(super) fn is_done(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event::Done { .. }))
}
