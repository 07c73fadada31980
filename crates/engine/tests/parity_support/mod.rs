//! A fixture folder (`model/`, `runs.json`, `expected.safetensors`) and the comparison of the engine with it.
//! The folders are written by `tools/parity`; what each tensor is called is decided there, in `pipelines.py`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failing test may panic")]

mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use easel_engine::config::{UNetConfig, VaeConfig};
use easel_engine::models::unet::Conditions;
use easel_engine::models::vae::{Tiling, decoder_part, encoder_part};
use easel_engine::models::{UNet, VaeDecoder, VaeEncoder};
use easel_engine::parts::ModelParts;
use easel_engine::pictures::Pixels;
use easel_engine::pipelines::{Observer, Picture, Pipeline, Request, Sd, Sdxl, unit_noise};
use easel_engine::pool::Pool;
use easel_engine::weights::WeightMap;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::parity_report::{IMAGE, LATENTS, MODULE, Recorder, Report, recorded};
use run::{Run, picture};

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

impl Fixture {
    /// One of the committed folders.
    pub fn committed(name: &str) -> Self {
        Self::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines").join(name))
    }

    /// Any folder that `tools/parity` wrote.
    pub fn read(folder: &Path) -> Self {
        let (expected, runs) = recorded(folder);
        Self {
            folder: folder.to_owned(),
            runs,
            expected,
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
        self.answer(model, run, &run.request(&self.folder)).0
    }

    fn answer(&self, model: &Model, run: &Run, request: &Request) -> (Recorder, Vec<Picture>) {
        let mut recorder = Recorder::default();
        let made = model.generate(request, &mut recorder);
        (recorder, made.unwrap_or_else(|error| panic!("{}: {}: {error}", self.name(), run.name)))
    }

    /// Goes only as far as the first step, and keeps what the text encoders made.
    fn encode(&self, model: &Model, run: &Run) -> BTreeMap<String, Tensor> {
        let mut recorder = Recorder { stop: true, ..Recorder::default() };
        model.generate(&run.request(&self.folder), &mut recorder).unwrap_err();
        recorder.dumped
    }

    /// All of what can be compared.
    pub fn check_all(&self) -> Vec<Report> {
        vec![self.check_noise(), self.check_texts(), self.check_unet(), self.check_vae(), self.check_pictures()]
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
            report.module(&name, &ours, &self.expected);
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
        report.module("vae", &ours, &self.expected);
        if self.nature.pictures.is_empty() {
            return report;
        }
        let encoder_weights = weights(encoder_part(part));
        let encoder = VaeEncoder::open(&encoder_weights, config.clone()).unwrap();
        assert_eq!(encoder_weights.left_over(|_| false), None);
        for name in &self.nature.pictures {
            let pixels = self.pixels(name, i64::from(config.scale_factor()));
            let ours = encoder.encode(&pixels, None, &mut || Ok(())).unwrap();
            report.module(&format!("{name}.mean"), &ours.mean, &self.expected);
            report.module(&format!("{name}.logvar"), &ours.logvar, &self.expected);
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
            report.module(&format!("{name}.tiled.mean"), &mean, &self.expected);
            report.module(&format!("{name}.tiled"), &picture, &self.expected);
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

    fn check_run(&self, run: &Run, (recorder, made): &(Recorder, Vec<Picture>), how: &str, report: &mut Report) {
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
                let Picture { width, height, rgb, .. } = &made[usize::try_from(image).unwrap()];
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
