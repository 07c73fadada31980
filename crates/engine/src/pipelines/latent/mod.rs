//! What Stable Diffusion 1, 2 and XL have in common: latents of a VAE, cleaned by a UNet that is told a text. What the
//! families differ in, each says through [`Family`].

mod condition;
mod network;
mod open;
mod plan;
mod start;

use std::cell::OnceCell;

use easel_engine_protocol::Options;
use tch::{Device, Kind, Tensor};

pub(super) use network::Layout;
pub(super) use open::{Recipe, open};
pub(super) use start::of_mask;

use super::denoise::{Watched, denoise};
use super::guidance::Guidance;
use super::noise::Noise;
use super::preview::Preview;
use super::size::latent_size;
use super::text::{self, Encoder, TextCache};
use super::work::{Strengths, Work};
use super::{Observer, Picture, Request, Sampler, dump_name, pixels};
use crate::adapters::AdapterSet;
use crate::config::{UNetConfig, VaeConfig};
use crate::models::clip::LayerChoice;
use crate::models::unet::Conditioning;
use crate::models::vae::{self, Scaling, Tiling, VaeDecoder};
use crate::parts::ModelParts;
use crate::pictures::Pixels;
use crate::pool::{Admission, PhaseKind, Pool};
use crate::schedulers::{Ask, Schedule};
use crate::{Error, Result};

/// A model of any of these families. Its networks are the pool's.
#[derive(Debug)]
pub(super) struct LatentModel {
    pub parts: ModelParts,
    pub device: Device,
    pub kind: Kind,
    /// The kind that the VAE computes in; single precision where half overflows.
    pub vae_kind: Kind,
    pub unet: UNetConfig,
    pub layout: Layout,
    pub vae: VaeConfig,
    /// The text encoders in the order of the concatenation.
    pub encoders: Vec<Encoder>,
    /// What they said about prompts.
    pub texts: TextCache,
    pub warnings: Vec<String>,
    pub preview: OnceCell<Preview>,
}

/// What a family does in its own way.
pub(super) trait Family {
    /// The model.
    fn model(&self) -> &LatentModel;

    /// How far pictures go from where they begin when nobody says.
    fn strengths(&self) -> Strengths;

    /// Which states of the text encoders a prompt is; `clip_skip` as in the options, 0 for the negative prompt, as in
    /// diffusers.
    fn layer(&self, clip_skip: u32) -> LayerChoice;

    /// Whether a negative prompt that is absent is zeros, not the encoding of an empty text.
    fn absent_is_zeros(&self) -> bool;

    /// The numbers that the UNet is told beside the text, for the prompt and for the negative one.
    fn sizes(&self, request: &Request) -> Option<[Vec<f64>; 2]>;

    /// How latents are scaled after encoding, and before decoding.
    fn scalings(&self, work: &Work) -> [Scaling; 2];

    /// Refuses work that the model was not made for.
    fn check(&self, _work: &Work) -> Result<()> {
        Ok(())
    }
}

/// Builds every network that makes a picture from a text.
pub(super) fn load(family: &dyn Family, pool: &Pool) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let model = family.model();
    let plain = AdapterSet::default();
    model.encoders(&plain, pool)?.iter().try_for_each(|encoder| encoder.model().map(|_| ()))?;
    model.lease_unet(&plain, pool)?;
    model.lease_decoder(pool)?;
    Ok(())
}

/// Makes one picture for each seed.
pub(super) fn generate(
    family: &dyn Family,
    request: &Request,
    pool: &Pool,
    observer: &mut dyn Observer,
) -> Result<Vec<Picture>> {
    let _no_grad = tch::no_grad_guard();
    let model = family.model();
    let size = latent_size(request.width, request.height, model.vae.scale_factor())?;
    check_options(request)?;
    let work = Work::of(request, family.strengths())?;
    family.check(&work)?;
    model.layout.check(&work)?;
    let schedule =
        crate::schedulers::build(&model.parts.scheduler, request.scheduler.as_ref(), &Ask::steps(request.steps))?;
    let begin = if work == Work::Text { 0 } else { schedule.begin(work.strength())? };
    let adapters = AdapterSet::open(&request.loras, &model.parts, request.options.strict_loras)?;
    let admission = model.admit(request, &work, &adapters, pool)?;
    let tiling = model.tiling(request, &admission);
    for warning in model.warnings.iter().map(String::as_str).chain(admission.warning()) {
        observer.warn(warning);
    }
    adapters.warnings().for_each(|warning| observer.warn(&warning));
    let texts = {
        let _computing = admission.enter(PhaseKind::EncodeText)?;
        model.encode_prompts(family, request, &adapters, pool, observer)?
    };
    let source = if work == Work::Text {
        start::Source::default()
    } else {
        let _computing = admission.enter(PhaseKind::EncodePicture)?;
        model.read(&work, tiling, pool, observer)?
    };
    let preview = model.preview(family, request, &work, pool)?;
    let together = usize::try_from(admission.together()).unwrap_or(1);
    let job = Job { family, request, adapters, work, schedule, begin, size, texts, source, admission, tiling };
    let mut pictures = Vec::with_capacity(request.seeds.len());
    let mut conditioning = None;
    for (chunk, seeds) in (0..).zip(request.seeds.chunks(together)) {
        let first = chunk * job.admission.together();
        let mut watched = Watched { observer, first, preview };
        let latents = job.draw(seeds, &mut conditioning, pool, &mut watched)?;
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

/// What can be asked of any of these models.
fn check_options(request: &Request) -> Result<()> {
    if !request.guidance_scale.is_finite() {
        return Err(Error::invalid(format!("guidance_scale is {}, not a number", request.guidance_scale)));
    }
    let Options { guidance_rescale, preview_every, .. } = request.options;
    if !(0.0..=1.0).contains(&guidance_rescale) {
        return Err(Error::invalid(format!("options.guidance_rescale is {guidance_rescale}, not from 0 to 1")));
    }
    if preview_every == Some(0) {
        return Err(Error::invalid("options.preview_every is 0").with_hint("leave it out for no previews"));
    }
    Ok(())
}

/// A request on its way.
struct Job<'a> {
    family: &'a dyn Family,
    request: &'a Request,
    adapters: AdapterSet,
    work: Work,
    schedule: Schedule,
    begin: usize,
    /// Height and width in latents.
    size: (i64, i64),
    texts: text::Texts,
    source: start::Source,
    admission: Admission,
    tiling: Option<Tiling>,
}

impl Job<'_> {
    /// `(n, channels, h, w)`: the latents of these seeds.
    fn draw(
        &self,
        seeds: &[u64],
        conditioning: &mut Option<(usize, Conditioning)>,
        pool: &Pool,
        watched: &mut Watched<'_>,
    ) -> Result<Tensor> {
        let (model, request) = (self.family.model(), self.request);
        let sampler = Sampler::new(&self.schedule, self.begin)?;
        let mut noise = Noise::of(seeds, &[model.vae.latent_channels, self.size.0, self.size.1])?;
        let scaling = self.family.scalings(&self.work)[0];
        let start = model.start(&self.source, &self.work, scaling, &sampler, &mut noise, watched)?;
        let unet = model.lease_unet(&self.adapters, pool)?;
        let _computing = self.admission.enter(PhaseKind::Denoise)?;
        let is_first = conditioning.is_none();
        if is_first {
            unet.warnings().iter().for_each(|warning| watched.observer.warn(warning));
        }
        let known = conditioning.take().filter(|(count, _)| *count == seeds.len());
        let (_, told) = conditioning.insert(match known {
            Some(known) => known,
            None => (seeds.len(), model.condition(self.family, request, &unet, &self.texts, seeds.len())?),
        });
        if is_first {
            watched.observer.encoded();
        }
        let guidance = self
            .texts
            .negative
            .as_ref()
            .map(|_| Guidance { scale: request.guidance_scale, rescale: request.options.guidance_rescale });
        let beside = start.beside.as_ref();
        let mut predict =
            |sample: &Tensor, timestep: f64| network::predict(&unet, sample, timestep, beside, guidance, told);
        denoise(sampler, start.latents, &mut noise, &mut predict, start.kept.as_ref(), watched)
    }

    /// What the latents of one picture look like.
    fn decode(&self, latents: &Tensor, image: u32, pool: &Pool, observer: &mut dyn Observer) -> Result<Pixels> {
        let model = self.family.model();
        let vae = model.lease_decoder(pool)?;
        if image == 0 {
            vae.warnings().iter().for_each(|warning| observer.warn(warning));
        }
        let _computing = self.admission.enter(PhaseKind::Decode)?;
        let [_, scaling] = self.family.scalings(&self.work);
        let latents = scaling.undo(&model.vae, &latents.f_totype(model.vae_kind)?)?;
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

/// Ends the work where nobody waits for it.
fn going_on(observer: &mut dyn Observer) -> Result<()> {
    if observer.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
}

impl LatentModel {
    /// Whether the negative prompt is computed at all. Networks that embed the scale do not need it.
    fn guides(&self, request: &Request) -> bool {
        request.guidance_scale > 1.0 && self.unet.time.cond_proj_dim.is_none()
    }

    fn preview(
        &self,
        family: &dyn Family,
        request: &Request,
        work: &Work,
        pool: &Pool,
    ) -> Result<Option<(&Preview, u32)>> {
        let Some(every) = request.options.preview_every else { return Ok(None) };
        if self.preview.get().is_none() {
            let decoder: &VaeDecoder = &*self.lease_decoder(pool)?;
            let [_, scaling] = family.scalings(work);
            // Set already only if it was fitted meanwhile, which one thread does not.
            let _ = self.preview.set(Preview::fit(decoder, (&self.vae, scaling), (self.device, self.vae_kind))?);
        }
        Ok(self.preview.get().map(|preview| (preview, every)))
    }

    fn encoders<'a>(&'a self, adapters: &AdapterSet, pool: &'a Pool) -> Result<Vec<text::TextEncoder<'a>>> {
        self.encoders
            .iter()
            .map(|Encoder { name, tokenizer, .. }| {
                let part = self.parts.part(name).ok_or_else(|| Error::internal(format!("{name} is gone")))?;
                let (kind, device, known) = (self.kind, self.device, &self.texts);
                let part = adapters.patched(part);
                Ok(text::TextEncoder { tokenizer, part, kind, device, pool, known, model: OnceCell::new() })
            })
            .collect()
    }

    fn lease_unet(&self, adapters: &AdapterSet, pool: &Pool) -> Result<crate::pool::Lease<crate::models::UNet>> {
        pool.lease(&adapters.patched(self.parts.needed("unet", "UNet2DConditionModel")?), self.kind)
    }

    fn lease_decoder(&self, pool: &Pool) -> Result<crate::pool::Lease<VaeDecoder>> {
        pool.lease(&vae::decoder_part(self.parts.needed("vae", "AutoencoderKL")?), self.vae_kind)
    }

    fn lease_encoder(&self, pool: &Pool) -> Result<crate::pool::Lease<vae::VaeEncoder>> {
        pool.lease(&vae::encoder_part(self.parts.needed("vae", "AutoencoderKL")?), self.vae_kind)
    }
}
