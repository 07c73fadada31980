//! A fixture folder (`model/`, `runs.json`, `expected.safetensors`) and the comparison of the engine with it.
//! The folders are written by `tools/parity`; what each tensor is called is decided there, in `pipelines.py`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failing test may panic"
)]

#[path = "../parity_report/mod.rs"]
mod report;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_engine::config::{UNetConfig, VaeConfig};
use easel_engine::models::unet::Conditions;
use easel_engine::models::vae::{Tiling, decoder_part, encoder_part};
use easel_engine::models::{UNet, VaeDecoder, VaeEncoder};
use easel_engine::parts::ModelParts;
use easel_engine::pictures::{self, Backdrop, Pixels};
use easel_engine::pipelines::{Observer, Picture, Pipeline, Request, Sd, Sdxl, unit_noise};
use easel_engine::pool::Pool;
use easel_engine::weights::WeightMap;
use easel_engine_protocol::{Dtype, InputImage, ModelSource, Options, PipelineKind};
use safetensors::{Dtype as StoredDtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

pub use report::Report;

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
    #[serde(default)]
    pub seeds: Vec<u64>,
    #[serde(default)]
    pub work: Work,
    pub strength: Option<f64>,
    pub padding: Option<u32>,
    #[serde(default)]
    pub picture: String,
    pub clip_skip: Option<u32>,
    pub rescale: Option<f64>,
}

/// What a picture begins from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    #[default]
    Text,
    Image,
    Inpaint,
}

impl Run {
    /// As the pipeline is asked.
    pub fn request(&self, folder: &Path) -> Request {
        let read = |name: &str| picture(&folder.join(format!("{}{name}.png", self.picture)));
        Request {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative.clone(),
            seeds: if self.seeds.is_empty() { vec![self.seed] } else { self.seeds.clone() },
            steps: self.steps,
            guidance_scale: self.guidance,
            width: self.width,
            height: self.height,
            scheduler: self.scheduler.clone(),
            image: (self.work != Work::Text).then(|| read("")),
            mask: (self.work == Work::Inpaint).then(|| read("-mask")),
            strength: self.strength,
            mask_padding: self.padding,
            options: Options {
                clip_skip: self.clip_skip,
                guidance_rescale: self.rescale.unwrap_or_default(),
                ..Options::default()
            },
            ..Request::default()
        }
    }
}

/// A picture file, as a job would bring it.
pub fn picture(path: &Path) -> Pixels {
    let file = InputImage(STANDARD.encode(std::fs::read(path).unwrap()));
    pictures::read("picture", &file, Backdrop::White).unwrap()
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
    pub nature: Nature,
}

/// `fixture.json`: what the tensors do not say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nature {
    /// `sd` or `sdxl`.
    pub family: String,
    pub pictures: Vec<String>,
    /// Side of the tiles in which the VAE was also tried.
    pub tile: Option<i64>,
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
    pub made: Vec<Picture>,
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
                StoredDtype::U8 => Kind::Uint8,
                other => panic!("{name} is {other:?}"),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&n| i64::try_from(n).unwrap()).collect();
            (name.to_owned(), Tensor::from_data_size(view.data(), &shape, kind))
        });
        Self {
            folder: folder.to_owned(),
            runs: serde_json::from_slice(&std::fs::read(folder.join("runs.json")).unwrap()).unwrap(),
            expected: expected.collect(),
            nature: match std::fs::read(folder.join("fixture.json")) {
                Ok(text) => serde_json::from_slice(&text).unwrap(),
                Err(_) => Nature { family: "sdxl".to_owned(), ..Nature::default() },
            },
        }
    }

    pub fn name(&self) -> String {
        self.folder.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// One of its pictures by its name.
    pub fn run(&self, name: &str) -> &Run {
        self.runs.iter().find(|run| run.name == name).unwrap_or_else(|| panic!("{} makes no {name}", self.name()))
    }

    /// A recorded tensor.
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.expected.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name()))
    }

    pub fn parts(&self) -> ModelParts {
        let pipeline = if self.is_sd() { PipelineKind::Sd } else { PipelineKind::Sdxl };
        ModelParts::open(&ModelSource::whole(self.folder.join("model"), pipeline)).unwrap()
    }

    fn is_sd(&self) -> bool {
        self.nature.family == "sd"
    }

    pub fn open(&self, dtype: Dtype) -> Model {
        let pipeline: Box<dyn Pipeline> = if self.is_sd() {
            Box::new(Sd::open(self.parts(), Device::Cpu, dtype).unwrap())
        } else {
            Box::new(Sdxl::open(self.parts(), Device::Cpu, dtype).unwrap())
        };
        Model { pipeline, pool: Pool::new(Device::Cpu) }
    }

    /// Makes the picture of a run and keeps everything on the way.
    pub fn generate(&self, model: &Model, run: &Run) -> Recorder {
        self.answer(model, run, &run.request(&self.folder))
    }

    fn answer(&self, model: &Model, run: &Run, request: &Request) -> Recorder {
        let mut recorder = Recorder::default();
        let made = model.generate(request, &mut recorder);
        recorder.made = made.unwrap_or_else(|error| panic!("{}: {}: {error}", self.name(), run.name));
        recorder
    }

    /// Goes only as far as the first step, and keeps what the text encoders made.
    fn encode(&self, model: &Model, run: &Run) -> BTreeMap<String, Tensor> {
        let mut recorder = Recorder { stop: true, ..Recorder::default() };
        model.generate(&run.request(&self.folder), &mut recorder).unwrap_err();
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
            let run = Run { prompt: text, negative: None, guidance: 1.0, clip_skip: None, ..first.clone() };
            let dumped = self.encode(&model, &run);
            for i in [1, 2] {
                let key = format!("{name}.ids.{i}");
                if let Some(theirs) = self.expected.get(&key) {
                    report.absolute(&key, &dumped[&format!("input_ids_{i}")], theirs, 0.0);
                }
            }
            let (embeds, pooled) = (format!("{name}.embeds"), format!("{name}.pooled"));
            report.relative(&embeds, &dumped["prompt_embeds"], self.tensor(&embeds), MODULE);
            if let Some(theirs) = self.expected.get(&pooled) {
                report.relative(&pooled, &dumped["pooled"], theirs, MODULE);
            }
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
            pooled: self.expected.get("prompt.pooled"),
            time_ids: self.expected.get("time_ids"),
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

    /// Both halves of the VAE by themselves, on whole pictures and in tiles.
    pub fn check_vae(&self) -> Report {
        let _no_grad = tch::no_grad_guard();
        let mut report = Report::default();
        let parts = self.parts();
        let part = parts.part("vae").unwrap();
        let config = VaeConfig::read("vae", &part.config).unwrap();
        let weights = |part| WeightMap::of(&part, Device::Cpu, Kind::Float).unwrap();
        let decoder_weights = weights(decoder_part(part));
        let decoder = VaeDecoder::open(&decoder_weights, config.clone()).unwrap();
        assert_eq!(decoder_weights.left_over(|_| false), None);
        let latents = self.tensor("noise").narrow(1, 0, config.latent_channels) / config.scaling_factor;
        let ours = decoder.decode(&latents, None, &mut || Ok(())).unwrap();
        report.relative("vae", &ours, self.tensor("vae"), MODULE);
        if self.nature.pictures.is_empty() {
            return report;
        }
        let encoder_weights = weights(encoder_part(part));
        let encoder = VaeEncoder::open(&encoder_weights, config.clone()).unwrap();
        assert_eq!(encoder_weights.left_over(|_| false), None);
        for name in &self.nature.pictures {
            let pixels = self.pixels(name, i64::from(config.scale_factor()));
            let ours = encoder.encode(&pixels, None, &mut || Ok(())).unwrap();
            report.relative(&format!("{name}.mean"), &ours.mean, self.tensor(&format!("{name}.mean")), MODULE);
            report.relative(&format!("{name}.logvar"), &ours.logvar, self.tensor(&format!("{name}.logvar")), MODULE);
            let Some(tile) = self.nature.tile else { continue };
            let tiling = Some(Tiling { tile, overlap: 0.25 });
            let mut tiles = 0;
            let mut between = || {
                tiles += 1;
                Ok(())
            };
            let mean = encoder.encode(&pixels, tiling, &mut between).unwrap().mean;
            let picture = decoder.decode(self.tensor(&format!("{name}.mean")), tiling, &mut between).unwrap();
            let is_larger = pixels.size().iter().any(|side| *side > tile);
            assert_eq!(tiles > 2, is_larger, "{name} was worked on in {tiles} tiles");
            let theirs = format!("{name}.tiled.mean");
            report.relative(&theirs, &mean, self.tensor(&theirs), MODULE);
            report.relative(&format!("{name}.tiled"), &picture, self.tensor(&format!("{name}.tiled")), MODULE);
        }
        report
    }

    /// `(1, 3, h, w)` from -1 to 1, cut to whole latents.
    fn pixels(&self, name: &str, factor: i64) -> Tensor {
        let Pixels { width, height, rgb } = picture(&self.folder.join(format!("{name}.png")));
        let (width, height) = (i64::from(width), i64::from(height));
        let pixels = Tensor::from_slice(&rgb).view([1, height, width, 3]).permute([0, 3, 1, 2]).to_kind(Kind::Float);
        let pixels = pixels.narrow(2, 0, height / factor * factor).narrow(3, 0, width / factor * factor);
        pixels / 255.0 * 2.0 - 1.0
    }

    /// Every step and every image of every run.
    pub fn check_pictures(&self) -> Report {
        let mut report = Report::default();
        let model = self.open(Dtype::Fp32);
        for run in &self.runs {
            let request = run.request(&self.folder);
            self.check_run(run, &self.answer(&model, run, &request), "", &mut report);
            if !run.seeds.is_empty() {
                let together = Request { together: 2, ..request };
                self.check_run(run, &self.answer(&model, run, &together), " (two together)", &mut report);
            }
        }
        report
    }

    fn check_run(&self, run: &Run, recorder: &Recorder, how: &str, report: &mut Report) {
        let dumped = &recorder.dumped;
        let theirs: Vec<_> =
            self.expected.keys().filter(|name| name.starts_with(&format!("{}.latents.", run.name))).collect();
        let steps = dumped.keys().filter(|name| name.starts_with("step_")).count();
        assert_eq!(steps, theirs.len(), "steps of {}", run.name);
        for image in 0..i64::try_from(run.seeds.len().max(1)).unwrap() {
            let prefix = if image == 0 { String::new() } else { format!("image_{image}.") };
            let of = |name: &str| self.tensor(name).narrow(0, image, 1);
            for i in 0..steps {
                let name = format!("{}.latents.{i}", run.name);
                let theirs = of(&name);
                let limit = LATENTS.max(MODULE * theirs.abs().max().double_value(&[]));
                report.absolute(&format!("{prefix}{name}{how}"), &dumped[&format!("{prefix}step_{i}")], &theirs, limit);
            }
            let name = format!("{}.image", run.name);
            if run.image && run.padding.is_none() {
                report.absolute(&format!("{prefix}{name}{how}"), &dumped[&format!("{prefix}image")], &of(&name), IMAGE);
            }
            if run.padding.is_some() {
                let Picture { width, height, rgb, .. } = &recorder.made[usize::try_from(image).unwrap()];
                let ours = Tensor::from_slice(rgb).view([1, i64::from(*height), i64::from(*width), 3]);
                let theirs = of(&format!("{}.bytes", run.name));
                report.absolute(&format!("{prefix}{}.bytes{how}", run.name), &ours, &theirs, 1.0);
                // A number that lies between two bytes may fall to either side; few do.
                let others = ours.ne_tensor(&theirs).to_kind(Kind::Float).mean(Kind::Double);
                report.absolute(
                    &format!("{prefix}{}.bytes that differ{how}", run.name),
                    &others,
                    &others.zeros_like(),
                    1e-3,
                );
            }
        }
    }
}
