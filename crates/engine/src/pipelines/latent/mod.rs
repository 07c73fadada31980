//! What Stable Diffusion 1, 2 and XL have in common: latents of a VAE, cleaned by a UNet that is told a text. What the
//! families differ in, each says through [`Family`].

mod condition;
mod network;
mod open;
mod plan;
mod start;

use std::cell::OnceCell;

use easel_engine_protocol::{Options, PipelineKind};
use tch::{Device, Kind, Tensor};

pub(super) use network::Layout;
pub(super) use open::{Recipe, open};
pub(super) use start::of_mask;

use self::start::Source;
use super::denoise::Watch;
use super::guidance::Guidance;
use super::noise::Noise;
use super::preview::Preview;
use super::size::latent_size;
use super::text::{self, Encoder, TextCache, Texts};
use super::together::{Beside, Checked, Common, Maker, Start};
use super::work::{Strengths, Work};
use super::{Observer, Request, Sampler};
use crate::adapters::AdapterSet;
use crate::config::{UNetConfig, VaeConfig};
use crate::models::UNet;
use crate::models::clip::LayerChoice;
use crate::models::unet::Conditioning;
use crate::models::vae::{Scaling, Tiling};
use crate::parts::ModelParts;
use crate::pool::{Admission, Lease, Pool};
use crate::schedulers::Ask;
use crate::{Error, Result};

/// A model of any of these families. Its networks are the pool's.
#[derive(Debug)]
pub(super) struct LatentModel {
    pub pipeline: PipelineKind,
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
    model.common().lease_decoder(pool)?;
    Ok(())
}

/// What can be asked of any of these models.
fn check_options(request: &Request) -> Result<()> {
    if !request.guidance_scale.is_finite() {
        return Err(Error::invalid(format!("guidance_scale is {}, not a number", request.guidance_scale)));
    }
    let Options { guidance_rescale, .. } = request.options;
    if !(0.0..=1.0).contains(&guidance_rescale) {
        return Err(Error::invalid(format!("options.guidance_rescale is {guidance_rescale}, not from 0 to 1")));
    }
    Ok(())
}

/// What the UNet is told of some pictures: the texts, and how far from the negative one where there is guidance.
pub(super) struct Told {
    conditioning: Conditioning,
    guidance: Option<Guidance>,
}

impl Maker for dyn Family + '_ {
    type Network = UNet;
    type Texts = Texts;
    type Source = Source;
    type Told = Told;

    fn common(&self) -> Common<'_> {
        self.model().common()
    }

    fn checked(&self, request: &Request) -> Result<Checked> {
        let model = self.model();
        let size = latent_size(request.width, request.height, model.vae.scale_factor())?;
        check_options(request)?;
        let work = Work::of(request, self.strengths())?;
        self.check(&work)?;
        model.layout.check(&work)?;
        let schedule =
            crate::schedulers::build(&model.parts.scheduler, request.scheduler.as_ref(), &Ask::steps(request.steps))?;
        let begin = if work == Work::Text { 0 } else { schedule.begin(work.strength())? };
        let adapters = AdapterSet::open(&request.loras, &model.parts, request.options.strict_loras)?;
        Ok(Checked { adapters, work, schedule, begin, size })
    }

    fn admitted(&self, request: &Request, checked: &Checked, _jobs: usize, pool: &Pool) -> Result<Admission> {
        self.model().admit(request, &checked.work, &checked.adapters, pool)
    }

    fn texts(
        &self,
        request: &Request,
        adapters: &AdapterSet,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Texts> {
        self.model().encode_prompts(self, request, adapters, pool, observer)
    }

    fn read_alike(a: &Texts, b: &Texts) -> bool {
        let shape =
            |texts: &Texts| (texts.positive.states.size(), texts.negative.as_ref().map(|text| text.states.size()));
        shape(a) == shape(b)
    }

    fn source(&self, work: &Work, tiling: Option<Tiling>, pool: &Pool, observer: &mut dyn Observer) -> Result<Source> {
        self.model().read(work, tiling, pool, observer)
    }

    fn begin(
        &self,
        source: &Source,
        work: &Work,
        sampler: &Sampler<'_>,
        noise: &mut Noise,
        watched: &mut dyn Watch,
    ) -> Result<Start> {
        self.model().start(source, work, self.scalings(work)[0], sampler, noise, watched)
    }

    fn network(&self, adapters: &AdapterSet, pool: &Pool) -> Result<Lease<UNet>> {
        self.model().lease_unet(adapters, pool)
    }

    fn told(&self, request: &Request, unet: &UNet, texts: &[(&Texts, usize)], _times: &[f64]) -> Result<Told> {
        let conditioning = self.model().condition(self, request, unet, texts)?;
        let guided = texts.iter().any(|(texts, _)| texts.negative.is_some());
        let guidance =
            guided.then_some(Guidance { scale: request.guidance_scale, rescale: request.options.guidance_rescale });
        Ok(Told { conditioning, guidance })
    }

    fn predicted(
        &self,
        unet: &UNet,
        sample: &Tensor,
        timestep: f64,
        beside: Option<&Beside>,
        told: &Told,
    ) -> Result<Tensor> {
        network::predict(unet, sample, timestep, beside, told.guidance, &told.conditioning)
    }

    fn unscaling(&self, work: &Work) -> Scaling {
        self.scalings(work)[1]
    }
}

impl LatentModel {
    /// Whether the negative prompt is computed at all. Networks that embed the scale do not need it.
    fn guides(&self, request: &Request) -> bool {
        request.guidance_scale > 1.0 && self.unet.time.cond_proj_dim.is_none()
    }

    fn common(&self) -> Common<'_> {
        let Self { pipeline, parts, device, vae, vae_kind, warnings, preview, .. } = self;
        Common { pipeline: *pipeline, parts, device: *device, vae, vae_kind: *vae_kind, warnings, preview }
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

    fn lease_unet(&self, adapters: &AdapterSet, pool: &Pool) -> Result<Lease<UNet>> {
        pool.lease(&adapters.patched(self.parts.needed("unet", "UNet2DConditionModel")?), self.kind)
    }
}
