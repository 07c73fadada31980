//! FLUX.1 (Black Forest Labs 2024), schnell and dev: `FluxPipeline` of diffusers. Which of the two it is shows in the
//! transformer's config, which says whether it is told of the guidance.

mod open;
mod pack;
mod plan;
mod prompt;
mod start;

use std::cell::OnceCell;

use easel_engine_protocol::{Dtype, PipelineKind};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use self::pack::{pack, unpack};
use self::prompt::{Conditionings, Texts};
use self::start::Source;
use super::denoise::Watch;
use super::guidance::Guidance;
use super::noise::Noise;
use super::preview::Preview;
use super::size::latent_size;
use super::text::TextCache;
use super::together::{self, Beside, Checked, Common, Maker, Start};
use super::work::{Strengths, Work};
use super::{Observer, Picture, Pipeline, Request, Sampler, Together};
use crate::adapters::AdapterSet;
use crate::config::{ClipConfig, FluxConfig, T5Config, VaeConfig};
use crate::models::FluxTransformer;
use crate::models::vae::{Scaling, Tiling};
use crate::parts::ModelParts;
use crate::pool::{Admission, Lease, Pool};
use crate::schedulers::{Ask, Schedule};
use crate::tokenizer::{ClipTokenizer, T5Tokenizer};
use crate::{Error, Result};

/// Those of diffusers' pipelines.
const STRENGTHS: Strengths = Strengths { image: 0.6, inpaint: 0.6 };

/// What timesteps are counted in, and what the network wants them divided by.
const TRAINING_STEPS: f32 = 1000.0;

/// Most tokens that T5 is asked for; diffusers refuses more.
const MOST_TOKENS: u32 = 512;

/// Tokens that schnell was trained with.
const TOKENS_OF_SCHNELL: u32 = 256;

/// A FLUX model.
#[derive(Debug)]
pub struct Flux {
    parts: ModelParts,
    device: Device,
    kind: Kind,
    /// The kind that T5 computes in, which half precision does not hold.
    t5_kind: Kind,
    /// The kind that the VAE works in; single precision where half overflows.
    vae_kind: Kind,
    clip_tokenizer: ClipTokenizer,
    t5_tokenizer: T5Tokenizer,
    clip: ClipConfig,
    t5: T5Config,
    transformer: FluxConfig,
    vae: VaeConfig,
    /// What the text encoders said about prompts.
    texts: TextCache,
    warnings: Vec<String>,
    preview: OnceCell<Preview>,
}

impl Flux {
    /// The model of these parts. Its networks are built when they are first used.
    pub fn open(parts: ModelParts, device: Device, dtype: Dtype) -> Result<Self> {
        open::open(parts, device, dtype)
    }

    /// Whether a negative prompt is computed, at the price of a second run of the network for each step.
    fn guides(request: &Request) -> bool {
        request.negative_prompt.is_some() && request.options.true_cfg_scale.is_some_and(|scale| scale > 1.0)
    }

    /// How many tokens of the prompt T5 reads.
    fn tokens(&self, request: &Request) -> Result<u32> {
        let own = if self.transformer.guidance_embeds { MOST_TOKENS } else { TOKENS_OF_SCHNELL };
        match request.options.max_sequence_length {
            None => Ok(own),
            Some(asked) if (1..=MOST_TOKENS).contains(&asked) => Ok(asked),
            Some(asked) => Err(Error::invalid(format!("max_sequence_length is {asked}, not from 1 to {MOST_TOKENS}"))),
        }
    }

    fn lease_transformer(&self, adapters: &AdapterSet, pool: &Pool) -> Result<Lease<FluxTransformer>> {
        pool.lease(&adapters.patched(self.parts.needed("transformer", "FluxTransformer2DModel")?), self.kind)
    }

    /// Rows and columns of patches: two latents each way make one.
    fn grid(&self, request: &Request) -> Result<(i64, i64)> {
        latent_size(request.width, request.height, self.vae.scale_factor().saturating_mul(2))
    }

    /// The schedule for a picture of so many patches. FLUX lays the noise levels itself, evenly from 1 down to one step.
    fn schedule(&self, request: &Request, (rows, columns): (i64, i64)) -> Result<Schedule> {
        let own = &self.parts.scheduler;
        let key = |key: &str| request.scheduler.as_ref().and_then(|asked| asked.get(key)).or_else(|| own.get(key));
        let patches = u32::try_from(rows.saturating_mul(columns)).map_err(Error::internal)?;
        let mut ask = Ask::flux(request.steps, patches);
        // Other classes that can follow a flow lay the same levels themselves.
        if key("use_flow_sigmas").is_some_and(|value| *value == Value::Bool(true)) {
            ask.evenly = false;
        }
        crate::schedulers::build(own, request.scheduler.as_ref(), &ask)
    }
}

/// Refuses what FLUX cannot follow.
fn check_options(request: &Request) -> Result<()> {
    let options = &request.options;
    let scales = [("guidance_scale", Some(request.guidance_scale)), ("options.true_cfg_scale", options.true_cfg_scale)];
    for (name, scale) in scales {
        if let Some(scale) = scale.filter(|scale| !scale.is_finite()) {
            return Err(Error::invalid(format!("{name} is {scale}, not a number")));
        }
    }
    Ok(())
}

impl Pipeline for Flux {
    fn load(&self, pool: &Pool) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let plain = AdapterSet::default();
        self.lease_clip(&plain, pool)?;
        self.lease_t5(&plain, pool)?;
        self.lease_transformer(&plain, pool)?;
        self.common().lease_decoder(pool)?;
        Ok(())
    }

    fn generate(&self, request: &Request, pool: &Pool, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        together::generate_alone(self, request, pool, observer)
    }

    fn generate_together(&self, requests: &mut [Together<'_>], pool: &Pool) -> Vec<Result<Vec<Picture>>> {
        together::generate(self, requests, pool)
    }
}

impl Maker for Flux {
    type Network = FluxTransformer;
    type Texts = Texts;
    type Source = Source;
    type Told = Conditionings;

    fn common(&self) -> Common<'_> {
        let Self { parts, device, vae, vae_kind, warnings, preview, .. } = self;
        Common { pipeline: PipelineKind::Flux, parts, device: *device, vae, vae_kind: *vae_kind, warnings, preview }
    }

    fn checked(&self, request: &Request) -> Result<Checked> {
        check_options(request)?;
        let (rows, columns) = self.grid(request)?;
        let work = Work::of(request, STRENGTHS)?;
        let schedule = self.schedule(request, (rows, columns))?;
        let begin = if work == Work::Text { 0 } else { schedule.begin_of_flux(work.strength())? };
        let adapters = AdapterSet::open(&request.loras, &self.parts, request.options.strict_loras)?;
        Ok(Checked { adapters, work, schedule, begin, size: (rows * 2, columns * 2) })
    }

    fn admitted(&self, request: &Request, checked: &Checked, jobs: usize, pool: &Pool) -> Result<Admission> {
        self.admit(request, checked, jobs, pool)
    }

    fn texts(
        &self,
        request: &Request,
        adapters: &AdapterSet,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Texts> {
        self.encode_prompts(request, adapters, pool, observer)
    }

    fn read_alike(a: &Texts, b: &Texts) -> bool {
        a.read_as(b)
    }

    fn source(&self, work: &Work, tiling: Option<Tiling>, pool: &Pool, observer: &mut dyn Observer) -> Result<Source> {
        self.read(work, tiling, pool, observer)
    }

    fn begin(
        &self,
        source: &Source,
        _work: &Work,
        sampler: &Sampler<'_>,
        noise: &mut Noise,
        watched: &mut dyn Watch,
    ) -> Result<Start> {
        self.start(source, sampler, noise, watched)
    }

    fn network(&self, adapters: &AdapterSet, pool: &Pool) -> Result<Lease<FluxTransformer>> {
        self.lease_transformer(adapters, pool)
    }

    fn told(
        &self,
        request: &Request,
        transformer: &FluxTransformer,
        texts: &[(&Texts, usize)],
        times: &[f64],
    ) -> Result<Conditionings> {
        let times: Vec<f64> = times.iter().copied().map(time).collect();
        self.condition(request, transformer, texts, (self.grid(request)?, &times))
    }

    fn predicted(
        &self,
        transformer: &FluxTransformer,
        sample: &Tensor,
        timestep: f64,
        _beside: Option<&Beside>,
        told: &Conditionings,
    ) -> Result<Tensor> {
        let (_, _, height, width) = sample.size4()?;
        unpack(&predict(transformer, &pack(sample)?, timestep, told)?, (height / 2, width / 2))
    }

    fn unscaling(&self, _work: &Work) -> Scaling {
        Scaling::Shift
    }
}

/// What the network calls a timestep.
fn time(timestep: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "timesteps are single precision")]
    let timestep = timestep as f32;
    f64::from(timestep / TRAINING_STEPS)
}

/// What the network says of patches, pulled away from what it says of them with the negative prompt.
fn predict(transformer: &FluxTransformer, patches: &Tensor, timestep: f64, told: &Conditionings) -> Result<Tensor> {
    let time = time(timestep);
    let positive = transformer.forward(patches, time, &told.positive)?;
    let Some((conditioning, scale)) = &told.negative else {
        return Ok(positive);
    };
    // Two calls and not one of twice the size, which would need the memory for it and be no faster: FLUX fills a device.
    let negative = transformer.forward(patches, time, conditioning)?;
    Guidance { scale: *scale, rescale: 0.0 }.combine(&Tensor::f_cat(&[negative, positive], 0)?)
}
