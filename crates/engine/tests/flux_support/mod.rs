//! A FLUX fixture folder (`model/`, `runs.json`, `expected.safetensors`) and the comparison of the engine with it. The
//! folders are written by `tools/parity`; what each tensor is called is decided there, in `flux.py`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use easel_engine::config::VaeConfig;
use easel_engine::models::clip::ClipText;
use easel_engine::models::flux::Conditions;
use easel_engine::models::vae::{VaeDecoder, decoder_part};
use easel_engine::models::{FluxTransformer, T5Encoder};
use easel_engine::parts::{ModelParts, Part};
use easel_engine::pictures::Pixels;
use easel_engine::pipelines::{Flux, Picture, Pipeline, Request, Together};
use easel_engine::pool::{Lease, Network, Pool};
use easel_engine::tokenizer::{ClipTokenizer, T5Tokenizer};
use easel_engine_protocol::{Dtype, ModelSource, Options, PipelineKind};
use serde::Deserialize;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

use crate::parity_report::{IMAGE, LATENTS, MODULE, Recorder, Report, recorded};

/// What became of a request.
pub type Made = easel_engine::Result<Vec<Picture>>;

/// The pictures of one call in `runs.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub name: String,
    pub kind: String,
    pub prompt: String,
    pub negative: Option<String>,
    pub steps: u32,
    pub guidance: f64,
    pub true_cfg: f64,
    pub width: u32,
    pub height: u32,
    pub seeds: Vec<u64>,
    pub strength: f64,
    pub tokens: u32,
    pub scheduler: Option<Map<String, Value>>,
    pub image: bool,
}

/// Latents as diffusers holds them: two by two in a row.
fn packed(latents: &Tensor) -> Tensor {
    let (batch, channels, height, width) = latents.size4().unwrap();
    let patches = latents.view([batch, channels, height / 2, 2, width / 2, 2]).permute([0, 2, 4, 1, 3, 5]);
    patches.reshape([batch, height / 2 * (width / 2), channels * 4])
}

/// A fixture folder, read.
pub struct Fixture {
    pub folder: PathBuf,
    pub runs: Vec<Run>,
    pub expected: BTreeMap<String, Tensor>,
}

impl Fixture {
    /// One of the committed folders.
    pub fn committed(name: &str) -> Self {
        Self::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/flux").join(name))
    }

    /// Any folder that `tools/parity` wrote.
    pub fn read(folder: &Path) -> Self {
        let (expected, runs) = recorded(folder);
        Self { folder: folder.to_owned(), runs, expected }
    }

    pub fn name(&self) -> String {
        self.folder.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// A recorded tensor.
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.expected.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name()))
    }

    pub fn parts(&self) -> ModelParts {
        ModelParts::open(&ModelSource::whole(self.folder.join("model"), PipelineKind::Flux)).unwrap()
    }

    /// A network of the model, all of whose weights are used.
    fn network<N: Network>(&self, name: &str, kind: Kind) -> Lease<N> {
        let parts = self.parts();
        let part: &Part = parts.part(name).unwrap();
        let network = Pool::new(Device::Cpu).lease::<N>(part, kind).unwrap();
        assert!(network.warnings().is_empty(), "{:?}", network.warnings());
        network
    }

    /// All of what can be compared.
    pub fn check_all(&self) -> Vec<Report> {
        vec![self.check_texts(), self.check_transformer(), self.check_vae(), self.check_pictures()]
    }

    /// Token ids, states and pooled state of the first run's prompt and negative prompt, and the states of a long text.
    pub fn check_texts(&self) -> Report {
        let _no_grad = tch::no_grad_guard();
        let mut report = Report::default();
        let parts = self.parts();
        let clip_tokenizer = ClipTokenizer::open(parts.tokenizer("tokenizer").unwrap()).unwrap();
        let t5_tokenizer = T5Tokenizer::open(parts.tokenizer("tokenizer_2").unwrap()).unwrap();
        let clip = self.network::<ClipText>("text_encoder", Kind::Float);
        let t5 = self.network::<T5Encoder>("text_encoder_2", Kind::Float);
        let run = &self.runs[0];
        let negative = run.negative.clone().unwrap_or_default();
        for (name, text) in [("prompt", &run.prompt), ("negative", &negative)] {
            let of = |what: &str| format!("{name}.{what}");
            let ids = Tensor::from_slice(&clip_tokenizer.encode(text).unwrap().ids).unsqueeze(0);
            report.absolute(&of("ids.1"), &ids, self.tensor(&of("ids.1")), 0.0);
            report.relative(&of("pooled"), &clip.pool(&ids).unwrap(), self.tensor(&of("pooled")), MODULE);
            let encoded = t5_tokenizer.encode(text, usize::try_from(run.tokens).unwrap()).unwrap();
            let ids = Tensor::from_slice(&encoded.ids).unsqueeze(0);
            report.absolute(&of("ids.2"), &ids, self.tensor(&of("ids.2")), 0.0);
            report.relative(&of("embeds"), &t5.forward(&ids).unwrap(), self.tensor(&of("embeds")), MODULE);
        }
        let states = t5.forward(self.tensor("long.ids")).unwrap();
        report.relative("long.states", &states, self.tensor("long.states"), MODULE);
        report
    }

    /// How near the states of the long text are to those of transformers, computed in bfloat16.
    pub fn t5_in_bf16(&self) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let t5 = self.network::<T5Encoder>("text_encoder_2", Kind::BFloat16);
        let ours = t5.forward(self.tensor("long.ids")).unwrap().to_kind(Kind::Double).flatten(0, -1);
        let theirs = self.tensor("long.states").to_kind(Kind::Double).flatten(0, -1);
        Tensor::cosine_similarity(&ours, &theirs, 0, 1e-12).double_value(&[])
    }

    /// The transformer by itself, at two times.
    pub fn check_transformer(&self) -> Report {
        let _no_grad = tch::no_grad_guard();
        let mut report = Report::default();
        // One that is asked for is among those that were told, and one is not.
        let times = [0.5, 0.961];
        for (time, ours) in times.into_iter().zip(self.at_times(&[1.0, 0.5, 0.25], &times)) {
            let name = format!("transformer.{time:?}");
            report.module(&name, &ours, &self.expected);
        }
        report
    }

    /// What the transformer says at each of `asked` when `told` are the times that it expects.
    fn at_times(&self, told: &[f64], asked: &[f64]) -> Vec<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let transformer = self.network::<FluxTransformer>("transformer", Kind::Float);
        let (_, _, height, width) = self.tensor("noise").size4().unwrap();
        let conditions = Conditions {
            text: self.tensor("prompt.embeds"),
            pooled: self.tensor("prompt.pooled"),
            guidance: Some(self.runs[0].guidance),
            grid: (height / 2, width / 2),
            times: told,
        };
        let conditioning = transformer.condition(&conditions).unwrap();
        asked.iter().map(|time| transformer.forward(self.tensor("packed"), *time, &conditioning).unwrap()).collect()
    }

    /// Every step and the first image of every run.
    pub fn check_pictures(&self) -> Report {
        let mut report = Report::default();
        for run in &self.runs {
            let made = self.generate(&self.request(run));
            let recorder = made.unwrap_or_else(|error| panic!("{}: {}: {error}", self.name(), run.name));
            self.check_run(run, &recorder, &mut report);
        }
        report
    }

    /// Every step and the first image of a run.
    pub fn check_run(&self, run: &Run, recorder: &Recorder, report: &mut Report) {
        let ours = |image: usize, name: String| {
            recorder.dumped.get(&if image == 0 { name.clone() } else { format!("image_{image}.{name}") })
        };
        for image in 0..run.seeds.len() {
            let theirs = |i: usize| self.expected.get(&format!("{}.{image}.latents.{i}", run.name));
            let steps = (0..=run.steps as usize).take_while(|&i| theirs(i).is_some()).count();
            assert!(steps > 0 && ours(image, format!("step_{steps}")).is_none(), "steps of {}", run.name);
            for i in 0..steps {
                let packed = packed(ours(image, format!("step_{i}")).unwrap());
                report.absolute(&format!("{}.{image}.latents.{i}", run.name), &packed, theirs(i).unwrap(), LATENTS);
            }
        }
        if run.image {
            let name = format!("{}.0.image", run.name);
            report.absolute(&name, &recorder.dumped["image"], self.tensor(&name), IMAGE);
        }
    }

    /// The last latents of every picture of a run, so many made together.
    pub fn latents(&self, run: &Run, together: usize) -> Vec<Tensor> {
        let request = Request { together, ..self.request(run) };
        let dumped = self.generate(&request).unwrap().dumped;
        let last = format!("step_{}", run.steps - 1);
        let names = (0..run.seeds.len()).map(|i| if i == 0 { last.clone() } else { format!("image_{i}.{last}") });
        names.map(|name| dumped[&name].copy()).collect()
    }

    /// Why the first run is refused when it is changed so.
    pub fn refused(&self, change: fn(&mut Request)) -> easel_engine::Error {
        let mut request = self.request(&self.runs[0]);
        change(&mut request);
        self.generate(&request).map(|_| ()).unwrap_err()
    }

    /// Everything that is told about a request.
    pub fn generate(&self, request: &Request) -> easel_engine::Result<Recorder> {
        let model = Flux::open(self.parts(), Device::Cpu, Dtype::Fp32)?;
        let mut recorder = Recorder::default();
        model.generate(request, &Pool::new(Device::Cpu), &mut recorder)?;
        Ok(recorder)
    }

    /// Everything that `recorders` are told about requests that are made together.
    pub fn generate_together(&self, requests: &[Request], mut recorders: Vec<Recorder>) -> Vec<(Made, Recorder)> {
        let model = Flux::open(self.parts(), Device::Cpu, Dtype::Fp32).unwrap();
        let mut together: Vec<Together<'_>> =
            requests.iter().zip(&mut recorders).map(|(request, observer)| Together { request, observer }).collect();
        let made = model.generate_together(&mut together, &Pool::new(Device::Cpu));
        made.into_iter().zip(recorders).collect()
    }

    /// The request of a run, and one for two other pictures that can be made together with them.
    pub fn pair(&self, run: &Run) -> [Request; 2] {
        let first = self.request(run);
        let mut image = first.image.clone();
        if let Some(image) = &mut image {
            image.rgb.reverse();
        }
        let negative_prompt = first.negative_prompt.as_ref().map(|_| "the red cat".to_owned());
        let other =
            Request { prompt: "the blue dog".to_owned(), negative_prompt, seeds: vec![5, 21], image, ..first.clone() };
        [other, first]
    }

    /// As the pipeline is asked.
    pub fn request(&self, run: &Run) -> Request {
        let pixels = |name: &str| {
            let stored = self.expected.get(&format!("{}.{name}", run.name))?;
            let rgb = if stored.dim() == 3 { stored.copy() } else { stored.unsqueeze(-1).repeat([1, 1, 3]) };
            let rgb = Vec::<u8>::try_from(rgb.flatten(0, -1)).unwrap();
            Some(Pixels { width: run.width, height: run.height, rgb })
        };
        Request {
            prompt: run.prompt.clone(),
            negative_prompt: run.negative.clone(),
            seeds: run.seeds.clone(),
            steps: run.steps,
            guidance_scale: run.guidance,
            width: run.width,
            height: run.height,
            scheduler: run.scheduler.clone(),
            image: pixels("input"),
            mask: pixels("mask"),
            strength: (run.kind != "text").then_some(run.strength),
            options: Options {
                true_cfg_scale: Some(run.true_cfg),
                max_sequence_length: Some(run.tokens),
                ..Options::default()
            },
            ..Request::default()
        }
    }

    /// The VAE's decoder by itself.
    pub fn check_vae(&self) -> Report {
        let _no_grad = tch::no_grad_guard();
        let mut report = Report::default();
        let parts = self.parts();
        let part = parts.part("vae").unwrap();
        let config = VaeConfig::read("vae", &part.config).unwrap();
        let vae = Pool::new(Device::Cpu).lease::<VaeDecoder>(&decoder_part(part), Kind::Float).unwrap();
        let (scale, shift) = (config.scaling_factor, config.shift_factor.unwrap_or_default());
        let ours = vae.decode(&(self.tensor("noise") / scale + shift), None, &mut || Ok(())).unwrap();
        report.module("vae", &ours, &self.expected);
        report
    }
}
