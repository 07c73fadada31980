//! FLUX.1 (Black Forest Labs 2024), schnell and dev: `FluxPipeline` of diffusers. Which of the two it is shows in the
//! transformer's config, which says whether it is told of the guidance.

mod open;
mod pack;
mod plan;
mod prompt;
mod start;

use std::cell::OnceCell;

use easel_engine_protocol::Dtype;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use self::pack::{pack, unpack};
use self::prompt::{Conditionings, Texts};
use self::start::Source;
use super::denoise::{Watched, denoise};
use super::guidance::Guidance;
use super::noise::Noise;
use super::preview::Preview;
use super::size::latent_size;
use super::text::TextCache;
use super::work::{Strengths, Work};
use super::{Observer, Picture, Pipeline, Request, Sampler, dump_name, pixels, tell_adapters};
use crate::adapters::AdapterSet;
use crate::config::{ClipConfig, FluxConfig, T5Config, VaeConfig};
use crate::models::FluxTransformer;
use crate::models::vae::{self, Scaling, Tiling, VaeDecoder, VaeEncoder};
use crate::parts::ModelParts;
use crate::pictures::Pixels;
use crate::pool::{Admission, Lease, PhaseKind, Pool};
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

    fn lease_decoder(&self, pool: &Pool) -> Result<Lease<VaeDecoder>> {
        pool.lease(&vae::decoder_part(self.parts.needed("vae", "AutoencoderKL")?), self.vae_kind)
    }

    fn lease_encoder(&self, pool: &Pool) -> Result<Lease<VaeEncoder>> {
        pool.lease(&vae::encoder_part(self.parts.needed("vae", "AutoencoderKL")?), self.vae_kind)
    }

    fn preview(&self, request: &Request, pool: &Pool) -> Result<Option<(&Preview, u32)>> {
        let Some(every) = request.options.preview_every else { return Ok(None) };
        if self.preview.get().is_none() {
            let decoder = self.lease_decoder(pool)?;
            // Set already only if it was fitted meanwhile, which one thread does not.
            let _ =
                self.preview.set(Preview::fit(&decoder, (&self.vae, Scaling::Shift), (self.device, self.vae_kind))?);
        }
        Ok(self.preview.get().map(|preview| (preview, every)))
    }

    /// The schedule for a picture of so many patches. FLUX lays the noise levels itself, evenly from 1 down to one step.
    fn schedule(&self, request: &Request, (rows, columns): (i64, i64)) -> Result<Schedule> {
        let own = &self.parts.scheduler;
        let key = |key: &str| request.scheduler.as_ref().and_then(|asked| asked.get(key)).or_else(|| own.get(key));
        let steps = request.steps;
        // Other classes that can follow a flow lay the same levels themselves.
        let follows = key("use_flow_sigmas").is_some_and(|value| *value == Value::Bool(true));
        let ask = Ask {
            steps,
            sigmas: (!follows).then(|| levels(steps)),
            image_seq_len: u32::try_from(rows.saturating_mul(columns)).ok(),
        };
        crate::schedulers::build(own, request.scheduler.as_ref(), &ask)
    }
}

/// `numpy.linspace(1, 1/n, n)`.
fn levels(steps: u32) -> Vec<f64> {
    let n = f64::from(steps);
    if steps < 2 {
        return vec![1.0; steps as usize];
    }
    let step = (1.0 / n - 1.0) / (n - 1.0);
    let mut levels: Vec<f64> = (0..steps).map(|i| f64::from(i) * step + 1.0).collect();
    if let Some(last) = levels.last_mut() {
        *last = 1.0 / n;
    }
    levels
}

/// Refuses what FLUX has no place for.
fn check_options(request: &Request) -> Result<()> {
    let options = &request.options;
    let scales = [("guidance_scale", Some(request.guidance_scale)), ("options.true_cfg_scale", options.true_cfg_scale)];
    for (name, scale) in scales {
        if let Some(scale) = scale.filter(|scale| !scale.is_finite()) {
            return Err(Error::invalid(format!("{name} is {scale}, not a number")));
        }
    }
    if options.preview_every == Some(0) {
        return Err(Error::invalid("options.preview_every is 0").with_hint("leave it out for no previews"));
    }
    let foreign = [
        ("options.clip_skip", options.clip_skip.is_some()),
        ("options.guidance_rescale", options.guidance_rescale != 0.0),
        ("options.long_prompts", options.long_prompts),
        ("options.prompt_weights", options.prompt_weights),
    ];
    match foreign.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(Error::invalid(format!("{field} is given, which FLUX's pipeline does not do"))
            .with_hint(format!("leave {field} out"))),
        None => Ok(()),
    }
}

impl Pipeline for Flux {
    fn load(&self, pool: &Pool) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let plain = AdapterSet::default();
        self.lease_clip(&plain, pool)?;
        self.lease_t5(&plain, pool)?;
        self.lease_transformer(&plain, pool)?;
        self.lease_decoder(pool)?;
        Ok(())
    }

    fn generate(&self, request: &Request, pool: &Pool, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        let _no_grad = tch::no_grad_guard();
        check_options(request)?;
        // Two latents each way make a patch.
        let grid = latent_size(request.width, request.height, self.vae.scale_factor().saturating_mul(2))?;
        let work = Work::of(request, STRENGTHS)?;
        let schedule = self.schedule(request, grid)?;
        let begin = if work == Work::Text { 0 } else { schedule.begin_of_flux(work.strength())? };
        let adapters = AdapterSet::open(&request.loras, &self.parts, request.options.strict_loras)?;
        let admission = self.admit(request, &work, &adapters, pool)?;
        let tiling = self.tiling(request, &admission);
        let warnings = self.warnings.iter().map(String::as_str).chain(admission.warning());
        warnings.for_each(|warning| observer.warn(warning));
        tell_adapters(&adapters, observer);
        let texts = {
            let _computing = admission.enter(PhaseKind::EncodeText)?;
            self.encode_prompts(request, &adapters, pool, observer)?
        };
        let source = if work == Work::Text {
            Source::default()
        } else {
            let _computing = admission.enter(PhaseKind::EncodePicture)?;
            self.read(&work, tiling, pool, observer)?
        };
        let preview = self.preview(request, pool)?;
        let job = Job { model: self, request, adapters, work, schedule, begin, grid, texts, source, admission, tiling };
        let together = usize::try_from(job.admission.together()).unwrap_or(1);
        let mut pictures = Vec::with_capacity(request.seeds.len());
        let mut told = None;
        for (chunk, seeds) in (0..).zip(request.seeds.chunks(together)) {
            let first = chunk * job.admission.together();
            let mut watched = Watched { observer, first, preview };
            let latents = job.draw(seeds, &mut told, pool, &mut watched)?;
            for (row, (image, &seed)) in (0..).zip((first..).zip(seeds)) {
                let made = job.decode(&latents.f_narrow(0, row, 1)?, image, pool, observer)?;
                let Pixels { width, height, rgb } = made;
                let picture = Picture { seed, width, height, rgb };
                observer.picture(image, &picture);
                pictures.push(picture);
            }
        }
        Ok(pictures)
    }
}

/// A request on its way.
struct Job<'a> {
    model: &'a Flux,
    request: &'a Request,
    adapters: AdapterSet,
    work: Work,
    schedule: Schedule,
    begin: usize,
    /// Rows and columns of patches.
    grid: (i64, i64),
    texts: Texts,
    source: Source,
    admission: Admission,
    /// The tiles of the VAE, if any.
    tiling: Option<Tiling>,
}

impl Job<'_> {
    /// `(n, channels, h, w)`: the latents of these seeds. `told` is kept from one chunk to the next of the same length.
    fn draw(
        &self,
        seeds: &[u64],
        told: &mut Option<(usize, Conditionings)>,
        pool: &Pool,
        watched: &mut Watched<'_>,
    ) -> Result<Tensor> {
        let model = self.model;
        let sampler = Sampler::new(&self.schedule, self.begin)?;
        let (rows, columns) = self.grid;
        let mut noise = Noise::of(seeds, &[model.vae.latent_channels, rows * 2, columns * 2])?;
        let (latents, kept) = model.start(&self.source, &sampler, &mut noise, watched)?;
        let transformer = model.lease_transformer(&self.adapters, pool)?;
        let _computing = self.admission.enter(PhaseKind::Denoise)?;
        let is_first = told.is_none();
        if is_first {
            transformer.warnings().iter().for_each(|warning| watched.observer.warn(warning));
        }
        let known = told.take().filter(|(count, _)| *count == seeds.len());
        let (_, told) = told.insert(if let Some(known) = known {
            known
        } else {
            let times = (0..sampler.len()).map(|i| Ok(time(sampler.timestep(i)?))).collect::<Result<Vec<_>>>()?;
            let place = (self.grid, times.as_slice());
            (seeds.len(), model.condition(self.request, &transformer, &self.texts, place, seeds.len())?)
        });
        if is_first {
            watched.observer.encoded();
        }
        let mut predict = |sample: &Tensor, timestep: f64| {
            let patches = predict(&transformer, &pack(sample)?, timestep, told)?;
            unpack(&patches, self.grid)
        };
        denoise(sampler, latents, &mut noise, &mut predict, kept.as_ref(), watched)
    }

    /// What the latents of one picture look like.
    fn decode(&self, latents: &Tensor, image: u32, pool: &Pool, observer: &mut dyn Observer) -> Result<Pixels> {
        let model = self.model;
        let vae = model.lease_decoder(pool)?;
        let _computing = self.admission.enter(PhaseKind::Decode)?;
        if image == 0 {
            vae.warnings().iter().for_each(|warning| observer.warn(warning));
        }
        let latents = Scaling::Shift.undo(&model.vae, &latents.f_totype(model.vae_kind)?)?;
        let decoded = vae.decode(&latents, self.tiling, &mut || going_on(observer))?;
        let decoded = pixels::to_unit_range(&decoded)?;
        observer.dump(&dump_name(image, "image"), &decoded);
        let rgb = pixels::to_rgb(&decoded)?;
        let made = Pixels { width: self.request.width, height: self.request.height, rgb };
        Ok(match &self.work {
            Work::Inpaint { frame: Some(frame), .. } => frame.with(&made),
            Work::Text | Work::Image { .. } | Work::Inpaint { frame: None, .. } => made,
        })
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

/// Ends the work where nobody waits for it.
fn going_on(observer: &mut dyn Observer) -> Result<()> {
    if observer.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::levels;

    #[test]
    fn levels_go_down_evenly() {
        assert_eq!(levels(4), [1.0, 0.75, 0.5, 0.25]);
        assert_eq!(levels(1), [1.0]);
        assert_eq!(levels(0), [0.0; 0]);
    }
}
