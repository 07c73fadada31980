//! The memory of real networks: parts that are shared, budgets that do not hold all, switches between models.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may panic as tests do"
)]

mod components;
#[expect(dead_code, reason = "the process is tested elsewhere")]
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use easel_engine::parts::ModelParts;
use easel_engine::pipelines::{Observer, Picture, Pipeline, Request, Sdxl};
use easel_engine::pool::{Budget, Limits, Pool};
use easel_engine::worker::{DeviceName, JobOptions, Open, Settings, Worker, open_model};
use easel_engine_protocol::{
    ComponentState, Dtype, EngineErrorKind, Event, GenerateJob, MemoryStatus, ModelSource, PipelineKind,
};
use serde_json::Value;
use support::{copy, fixture, job};
use tch::Device;
use tempfile::TempDir;

/// A folder of copies of the tiny model that tests may change.
struct Models(TempDir);

impl Models {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn copy(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        copy(&fixture("two-levels-zero-snr"), &path);
        path
    }

    /// A copy with other weights in one component.
    fn changed(&self, name: &str, component: &str) -> PathBuf {
        let path = self.copy(name);
        let weights = weights(&path.join(component));
        let mut bytes = fs::read(&weights).unwrap();
        // In the middle of the weights, where a sample looks or not.
        let place = bytes.len() - 101;
        bytes[place] ^= 1;
        fs::write(&weights, bytes).unwrap();
        path
    }
}

fn weights(component: &Path) -> PathBuf {
    let mut files = fs::read_dir(component).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "safetensors")).unwrap()
}

fn set(config: &Path, key: &str, value: Value) {
    let mut map: serde_json::Map<String, Value> = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
    map.insert(key.to_owned(), value);
    fs::write(config, Value::from(map).to_string()).unwrap();
}

fn parts(path: &Path) -> ModelParts {
    ModelParts::open(&ModelSource::whole(path, PipelineKind::Sdxl)).unwrap()
}

/// Sees nothing but warnings.
#[derive(Default)]
struct Ear(Vec<String>);

impl Observer for Ear {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn warn(&mut self, message: &str) {
        self.0.push(message.to_owned());
    }
}

fn request() -> Request {
    Request {
        prompt: "a painting of a red squirrel".to_owned(),
        seeds: vec![7, 8],
        steps: 2,
        guidance_scale: 3.0,
        width: 64,
        height: 64,
        ..Request::default()
    }
}

fn generate(path: &Path, dtype: Dtype, budget: u64, request: &Request) -> (Pool, easel_engine::Result<Vec<Picture>>) {
    let pool = Pool::with(Device::Cpu, &Limits { budget: Budget::Bytes(budget), cache: None });
    let model = Sdxl::open(parts(path), Device::Cpu, dtype).unwrap();
    let made = model.generate(request, &pool, &mut Ear::default());
    (pool, made)
}

#[test]
fn every_budget_gives_the_same_pictures_or_none_and_is_kept_to() {
    let path = fixture("two-levels-zero-snr");
    let (pool, whole) = generate(&path, Dtype::Bf16, 1 << 40, &request());
    let (whole, most) = (whole.unwrap(), pool.memory().peak);
    let (mut made, mut refused, mut least) = (0, 0, u64::MAX);
    for part in 1..=24 {
        let budget = most * part / 20;
        let (pool, pictures) = generate(&path, Dtype::Bf16, budget, &request());
        let memory = pool.memory();
        assert!(memory.peak <= budget, "{} bytes of {budget} were used", memory.peak);
        assert_eq!((memory.leased, memory.working), (0, 0), "something is still used");
        match pictures {
            Ok(pictures) => {
                assert!(pictures == whole, "other pictures in {budget} bytes");
                least = least.min(budget);
                made += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), EngineErrorKind::OutOfMemory, "{error}");
                assert!(budget < least, "{budget} bytes are too few and {least} are enough");
                assert_eq!(memory.used, 0, "a job that is refused loads nothing");
                refused += 1;
            }
        }
    }
    assert!(made >= 6 && refused >= 3, "{made} made, {refused} refused");
    assert!(least < most * 9 / 10, "networks leave when their phase is over: {least} of {most}");
}

#[test]
fn a_refusal_says_what_would_fit_and_that_fits() {
    let path = fixture("two-levels-zero-snr");
    let small = Request { width: 128, height: 64, seeds: vec![7], steps: 1, ..request() };
    let (pool, made) = generate(&path, Dtype::Fp32, 1 << 40, &small);
    made.unwrap();
    let budget = pool.memory().peak;
    let mut large = Request { width: 1024, height: 512, ..small };
    let refused = generate(&path, Dtype::Fp32, budget, &large).1.map(|_| "made");
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::OutOfMemory);
    let text = error.to_string();
    assert!(text.contains("1024x512") && text.contains("MiB for ") && text.contains("can be made free"), "{text}");
    let hint = error.hint().unwrap();
    let size = hint.split("ask for ").nth(1).and_then(|rest| rest.split(',').next()).expect(hint);
    let (width, height) = size.split_once('x').unwrap();
    (large.width, large.height) = (width.parse().unwrap(), height.parse().unwrap());
    assert!(large.width < 1024 && large.width.is_multiple_of(64), "{hint}");
    generate(&path, Dtype::Fp32, budget, &large).1.unwrap();
    let hopeless = generate(&path, Dtype::Bf16, 1 << 10, &request()).1.map(|_| "made");
    let error = hopeless.unwrap_err();
    assert!(error.hint().unwrap().contains("more memory"), "{:?}", error.hint());
}

/// Bytes of the process's own that are in memory.
fn own_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A worker on the processor with a budget.
fn worker(budget: Option<u64>) -> Worker {
    let memory: HashMap<_, _> = budget.map(|bytes| (DeviceName::Cpu, bytes)).into_iter().collect();
    let settings = Settings { threads: Some(1), memory, ..Settings::default() };
    let open: Open = Arc::new(open_model);
    Worker::start_with(&[DeviceName::Cpu], &settings, &open).unwrap()
}

fn run(worker: &Worker, path: &Path) -> Result<Vec<String>, easel_engine_protocol::EngineError> {
    let job = GenerateJob { steps: 1, dtype: Some(Dtype::Bf16), ..job(path) };
    let mut job = worker.submit(job, JobOptions::default()).unwrap();
    let mut pictures = Vec::new();
    loop {
        match job.blocking_next().expect("the job ends with an event") {
            Event::Image { png_base64, .. } => pictures.push(png_base64),
            Event::Done { .. } => return Ok(pictures),
            Event::Failed { error } => return Err(error),
            Event::Queued { .. }
            | Event::Loading
            | Event::Adapters { .. }
            | Event::Warning { .. }
            | Event::Step { .. }
            | Event::Preview { .. } => {}
        }
    }
}

fn memory(worker: &Worker) -> MemoryStatus {
    worker.status()[0].memory
}

#[test]
#[cfg(target_os = "linux")]
fn switching_between_models_that_share_parts_takes_nothing_that_stays() {
    #[expect(clippy::disallowed_methods, reason = "the environment says how long tests may take")]
    let long = std::env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long");
    let switches = if long { 50 } else { 10 };
    let models = Models::new();
    let (a, b) = (models.copy("a"), models.changed("b", "unet"));
    let worker = worker(None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    let first = run(&worker, &a).unwrap();
    let one = memory(&worker);
    let second = run(&worker, &b).unwrap();
    let both = memory(&worker);
    let unet = |status: &easel_engine_protocol::DeviceStatus| -> Vec<u64> {
        status.components.iter().filter(|component| component.name == "unet").map(|unet| unet.bytes).collect()
    };
    let status = worker.status().remove(0);
    assert_eq!(unet(&status).len(), 2);
    assert_eq!(both.used, one.used + unet(&status)[0], "shared parts are counted once");
    for component in &status.components {
        assert_eq!(component.shared_by, if component.name == "unet" { 1 } else { 2 }, "{component:?}");
        assert_eq!((component.state, component.leases), (ComponentState::OnDevice, 0), "{component:?}");
    }

    let mut floor = own_bytes();
    for switch in 0..switches {
        let (path, expected) = if switch % 2 == 0 { (&a, &first) } else { (&b, &second) };
        assert!(run(&worker, path).unwrap() == *expected, "another picture after {switch} switches");
        assert_eq!(memory(&worker).used, both.used);
        // What allocators keep for later settles in the first rounds.
        if switch < 4 {
            floor = floor.max(own_bytes());
        }
    }
    let grown = own_bytes().saturating_sub(floor);
    assert!(grown < 8 << 20, "{grown} bytes more than after the first switches");
    assert_eq!(runtime.block_on(worker.unload(None)), 2);
    assert_eq!(memory(&worker).used, 0);
    assert!(worker.status()[0].components.is_empty(), "what no model uses is forgotten");
    println!("report: {switches} switches, {grown} bytes of growth");
}

/// Through the worker, as waiting jobs come to it; the first runs alone, those that wait meanwhile together.
#[test]
fn jobs_that_are_put_together_give_the_pictures_of_each_alone() {
    let sdxl = job(&fixture("two-levels-zero-snr"));
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/flux/dev/model");
    let flux = GenerateJob { model: ModelSource::whole(place, PipelineKind::Flux), ..sdxl.clone() };
    for like in [sdxl, flux] {
        are_those_of_each_alone(&like);
    }
}

fn are_those_of_each_alone(like: &GenerateJob) {
    let asked = |n: u64| GenerateJob { prompt: format!("a cat {n}"), seeds: vec![n, n + 9], ..like.clone() };
    let pictures = |job: &mut easel_engine::worker::Job| {
        let mut pictures = Vec::new();
        while let Some(event) = job.blocking_next() {
            match event {
                Event::Image { png_base64, .. } => pictures.push(png_base64),
                Event::Failed { error } => panic!("{error}"),
                _ => {}
            }
        }
        pictures
    };
    let alone = worker(None);
    let settings = Settings { threads: Some(1), max_batch: 8, ..Settings::default() };
    let open: Open = Arc::new(open_model);
    let together = Worker::start_with(&[DeviceName::Cpu], &settings, &open).unwrap();
    let submit = |worker: &Worker, n| worker.submit(asked(n), JobOptions::default()).unwrap();
    let mut jobs: Vec<_> = (0..5).map(|n| submit(&together, n)).collect();
    drop(jobs.remove(2));
    for (n, job) in [0, 1, 3, 4].into_iter().zip(&mut jobs) {
        let made = pictures(job);
        assert_eq!(made.len(), 2);
        assert!(made == pictures(&mut submit(&alone, n)), "job {n}");
    }
}

#[test]
fn two_models_of_which_one_fits_take_turns() {
    let models = Models::new();
    let (a, b) = (models.copy("a"), models.changed("b", "unet"));
    let free = worker(None);
    let (first, second) = (run(&free, &a).unwrap(), run(&free, &b).unwrap());
    let peak_of_both = memory(&free).peak;
    let of_unet =
        free.status()[0].components.iter().filter(|component| component.name == "unet").map(|unet| unet.bytes).max();

    let budget = peak_of_both - of_unet.unwrap() / 2;
    let worker = worker(Some(budget));
    for _ in 0..3 {
        assert!(run(&worker, &a).unwrap() == first);
        assert!(run(&worker, &b).unwrap() == second);
        let memory = memory(&worker);
        assert!(memory.peak <= budget, "{memory:?}");
        assert_eq!(worker.models().len(), 2, "both stay open");
    }
    let states: Vec<_> = worker.status()[0].components.iter().map(|component| component.state).collect();
    assert!(states.contains(&ComponentState::OnDisk) && states.contains(&ComponentState::OnDevice), "{states:?}");
}

#[test]
fn a_model_that_does_not_load_leaves_the_other_one_as_it_was() {
    let models = Models::new();
    let (a, broken) = (models.copy("a"), models.copy("broken"));
    // A tensor too few: seen only when the network is built, after the others have been.
    set(&broken.join("vae/config.json"), "layers_per_block", 3.into());
    let worker = worker(None);
    let first = run(&worker, &a).unwrap();
    let before = memory(&worker);
    for _ in 0..3 {
        let error = run(&worker, &broken).unwrap_err();
        assert_eq!(error.kind, EngineErrorKind::ModelBroken, "{error}");
        assert_eq!(memory(&worker), MemoryStatus { budget: memory(&worker).budget, ..before });
        assert_eq!(worker.models().len(), 1);
        assert!(run(&worker, &a).unwrap() == first);
    }
    assert!(worker.status()[0].components.iter().all(|component| component.shared_by == 1));
}
