//! A fixture folder (`model/`, `runs.json`, `expected.safetensors`) and the comparison of the engine with it.
//! The folders are written by `tools/parity`; what each tensor is called is decided there, in `pipelines.py`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failing test may panic"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use easel_engine::config::{UNetConfig, VaeConfig};
use easel_engine::models::unet::Conditions;
use easel_engine::models::{AutoencoderKl, UNet};
use easel_engine::parts::ModelParts;
use easel_engine::pipelines::{Observer, Picture, Pipeline, Request, Sdxl, unit_noise};
use easel_engine::pool::Pool;
use easel_engine::weights::WeightMap;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};
use safetensors::{Dtype as StoredDtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

/// A network's output against its largest number.
pub const MODULE: f64 = 2e-6;
/// The latents of any step. Where they are larger than 25, as after the first step from pure noise, `f32` itself is
/// coarser on another processor than the one that made the fixtures, and [`MODULE`] of the largest is the limit.
pub const LATENTS: f64 = 5e-5;
/// A picture, from 0 to 1.
pub const IMAGE: f64 = 5e-6;

/// One picture of `runs.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub name: String,
    pub prompt: String,
    pub negative: Option<String>,
    pub steps: u32,
    pub guidance: f64,
    pub width: u32,
    pub height: u32,
    pub seed: u64,
    pub scheduler: Option<Map<String, Value>>,
    pub image: bool,
}

impl Run {
    /// As the pipeline is asked.
    pub fn request(&self) -> Request {
        Request {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative.clone(),
            seeds: vec![self.seed],
            steps: self.steps,
            guidance_scale: self.guidance,
            width: self.width,
            height: self.height,
            scheduler: self.scheduler.clone(),
            ..Request::default()
        }
    }
}

/// A pipeline and the pool that it leases from.
pub struct Model {
    pub pipeline: Box<dyn Pipeline>,
    pub pool: Pool,
}

impl Model {
    pub fn generate(&self, request: &Request, observer: &mut dyn Observer) -> easel_engine::Result<Vec<Picture>> {
        self.pipeline.generate(request, &self.pool, observer)
    }
}

/// A fixture folder, read.
pub struct Fixture {
    pub folder: PathBuf,
    pub runs: Vec<Run>,
    pub expected: BTreeMap<String, Tensor>,
}

/// How far the engine is from a fixture: a line for each tensor compared.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<String>,
    pub wrong: Vec<String>,
}

impl Report {
    /// Compares by the largest absolute difference.
    pub fn absolute(&mut self, name: &str, ours: &Tensor, theirs: &Tensor, limit: f64) {
        let difference = difference(name, ours, theirs);
        self.note(name, difference, limit, "");
    }

    /// Compares by the largest difference over the largest number.
    pub fn relative(&mut self, name: &str, ours: &Tensor, theirs: &Tensor, limit: f64) {
        let size = theirs.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
        let difference = difference(name, ours, theirs) / size;
        self.note(name, difference, limit, " relative");
    }

    fn note(&mut self, name: &str, difference: f64, limit: f64, sort: &str) {
        let line = format!("{name:32} {difference:.2e}{sort} of {limit:.0e}");
        // Not `difference > limit`: a NaN is wrong too.
        if difference <= limit {
            self.lines.push(line);
        } else {
            self.wrong.push(line);
        }
    }

    /// Prints what was right and fails on what was not.
    pub fn finish(self, place: &str) {
        println!("{place}");
        for line in &self.lines {
            println!("  {line}");
        }
        assert!(self.wrong.is_empty(), "{place}: too far from diffusers:\n  {}", self.wrong.join("\n  "));
    }
}

fn difference(name: &str, ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size(), "{name}");
    (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Whether libtorch turns random numbers into noise with AVX2. Without it, it takes another logarithm and cosine, so the
/// same seed gives noise that differs in the last places, for diffusers as for us.
#[expect(clippy::disallowed_methods, reason = "libtorch is told its instructions by the environment")]
fn draws_with_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has && !std::env::var("ATEN_CPU_CAPABILITY").is_ok_and(|capability| capability == "default")
}

/// Everything the pipeline tells about a request.
#[derive(Default)]
pub struct Recorder {
    pub dumped: BTreeMap<String, Tensor>,
    pub warnings: Vec<String>,
    /// End the request after its first step.
    pub stop: bool,
}

impl Observer for Recorder {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        if self.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn warn(&mut self, message: &str) {
        self.warnings.push(message.to_owned());
    }

    fn dump(&mut self, name: &str, tensor: &Tensor) {
        self.dumped.insert(name.to_owned(), tensor.copy());
    }
}

impl Fixture {
    /// One of the committed folders.
    pub fn committed(name: &str) -> Self {
        Self::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines").join(name))
    }

    /// Any folder that `tools/parity` wrote.
    pub fn read(folder: &Path) -> Self {
        // The tests run side by side; more threads in each would only make them wait for each other.
        tch::set_num_threads(1);
        let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        let expected = stored.iter().map(|(name, view)| {
            let kind = match view.dtype() {
                StoredDtype::F32 => Kind::Float,
                StoredDtype::I64 => Kind::Int64,
                other => panic!("{name} is {other:?}"),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&n| i64::try_from(n).unwrap()).collect();
            (name.to_owned(), Tensor::from_data_size(view.data(), &shape, kind))
        });
        Self {
            folder: folder.to_owned(),
            runs: serde_json::from_slice(&std::fs::read(folder.join("runs.json")).unwrap()).unwrap(),
            expected: expected.collect(),
        }
    }

    pub fn name(&self) -> String {
        self.folder.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// A recorded tensor.
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.expected.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name()))
    }

    pub fn parts(&self) -> ModelParts {
        ModelParts::open(&ModelSource::whole(self.folder.join("model"), PipelineKind::Sdxl)).unwrap()
    }

    pub fn open(&self, dtype: Dtype) -> Model {
        let pipeline = Box::new(Sdxl::open(self.parts(), Device::Cpu, dtype).unwrap());
        Model { pipeline, pool: Pool::new(Device::Cpu) }
    }

    /// Makes the picture of a run and keeps everything on the way.
    pub fn generate(model: &Model, run: &Run) -> Recorder {
        let mut recorder = Recorder::default();
        model.generate(&run.request(), &mut recorder).unwrap_or_else(|error| panic!("{}: {error}", run.name));
        recorder
    }

    /// Goes only as far as the first step, and keeps what the text encoders made.
    fn encode(model: &Model, run: &Run) -> BTreeMap<String, Tensor> {
        let mut recorder = Recorder { stop: true, ..Recorder::default() };
        model.generate(&run.request(), &mut recorder).unwrap_err();
        recorder.dumped
    }

    /// Token ids, states and pooled state, of the first run's prompt and negative prompt.
    pub fn check_texts(&self) -> Report {
        let mut report = Report::default();
        let model = self.open(Dtype::Fp32);
        // The prompt, and the negative prompt in its place; guidance of 1 leaves the other out.
        let first = &self.runs[0];
        let negative = first.negative.clone().unwrap_or_default();
        for (name, text) in [("prompt", first.prompt.clone()), ("negative", negative)] {
            let run = Run { prompt: text, negative: None, guidance: 1.0, ..first.clone() };
            let dumped = Self::encode(&model, &run);
            for i in [1, 2] {
                let theirs = self.tensor(&format!("{name}.ids.{i}"));
                report.absolute(&format!("{name}.ids.{i}"), &dumped[&format!("input_ids_{i}")], theirs, 0.0);
            }
            let (embeds, pooled) = (format!("{name}.embeds"), format!("{name}.pooled"));
            report.relative(&embeds, &dumped["prompt_embeds"], self.tensor(&embeds), MODULE);
            report.relative(&pooled, &dumped["pooled"], self.tensor(&pooled), MODULE);
        }
        report
    }

    /// The noise of the first run's seed: to the bit where libtorch draws it with the vector instructions with which
    /// the fixtures were drawn.
    pub fn check_noise(&self) -> Report {
        let mut report = Report::default();
        let theirs = self.tensor("noise");
        let ours = unit_noise(self.runs[0].seed, &theirs.size()).unwrap();
        report.relative("noise", &ours, theirs, if draws_with_avx2() { 0.0 } else { MODULE });
        report
    }

    /// The UNet by itself, at two timesteps.
    pub fn check_unet(&self) -> Report {
        let _no_grad = tch::no_grad_guard();
        let mut report = Report::default();
        let parts = self.parts();
        let part = parts.part("unet").unwrap();
        let config = UNetConfig::read("unet", &part.config).unwrap();
        let weights = WeightMap::of(part, Device::Cpu, Kind::Float).unwrap();
        let unet = UNet::open(&weights, config).unwrap();
        assert_eq!(weights.left_over(|_| false), None);
        let conditions = Conditions {
            text: self.tensor("prompt.embeds"),
            pooled: Some(self.tensor("prompt.pooled")),
            time_ids: Some(self.tensor("time_ids")),
            guidance: self.expected.get("unet.cond"),
        };
        let conditioning = unet.condition(&conditions).unwrap();
        for timestep in [500.0, 961.25] {
            let name = format!("unet.{timestep:?}");
            let ours = unet.forward(self.tensor("noise"), timestep, &conditioning).unwrap();
            report.relative(&name, &ours, self.tensor(&name), MODULE);
        }
        report
    }

    /// The VAE's decoder by itself.
    pub fn check_vae(&self) -> Report {
        let _no_grad = tch::no_grad_guard();
        let mut report = Report::default();
        let parts = self.parts();
        let part = parts.part("vae").unwrap();
        let config = VaeConfig::read("vae", &part.config).unwrap();
        let scale = config.scaling_factor;
        let weights = WeightMap::of(part, Device::Cpu, Kind::Float).unwrap();
        let vae = AutoencoderKl::open(&weights, config).unwrap();
        let ours = vae.decode(&(self.tensor("noise") / scale)).unwrap();
        report.relative("vae", &ours, self.tensor("vae"), MODULE);
        report
    }

    /// Every step and every image of every run.
    pub fn check_pictures(&self) -> Report {
        let mut report = Report::default();
        let model = self.open(Dtype::Fp32);
        for run in &self.runs {
            let dumped = Self::generate(&model, run).dumped;
            let steps = |names: &BTreeMap<String, Tensor>, prefix: &str| {
                names.keys().filter(|name| name.starts_with(prefix)).count()
            };
            let theirs = steps(&self.expected, &format!("{}.latents.", run.name));
            assert_eq!(steps(&dumped, "step_"), theirs, "steps of {}", run.name);
            for i in 0..theirs {
                let name = format!("{}.latents.{i}", run.name);
                let theirs = self.tensor(&name);
                let limit = LATENTS.max(MODULE * theirs.abs().max().double_value(&[]));
                report.absolute(&name, &dumped[&format!("step_{i}")], theirs, limit);
            }
            if run.image {
                let name = format!("{}.image", run.name);
                report.absolute(&name, &dumped["image"], self.tensor(&name), IMAGE);
            }
        }
        report
    }
}
