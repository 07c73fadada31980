//! What Stable Diffusion 1, 2 and XL have in common: latents of a VAE, cleaned by a UNet that is told a text. What the
//! families differ in, each says through [`Family`].

mod condition;
mod network;
mod open;
mod plan;
mod start;
mod together;

use std::cell::OnceCell;
use std::rc::Rc;

use easel_engine_protocol::Options;
use tch::{Device, Kind, Tensor};

pub(super) use network::Layout;
pub(super) use open::{Recipe, open};
pub(super) use start::of_mask;
pub(super) use together::generate as generate_together;

use super::preview::Preview;
use super::size::latent_size;
use super::text::{self, Encoder, TextCache};
use super::work::{Strengths, Work};
use super::{Observer, Picture, Request, Together, dump_name, pixels, tell_adapters};
use crate::adapters::AdapterSet;
use crate::config::{UNetConfig, VaeConfig};
use crate::models::clip::LayerChoice;
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
    let made = generate_together(family, &mut [Together { request, observer }], pool).pop();
    made.unwrap_or_else(|| Err(Error::internal("a request has no result")))
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
    let foreign = [
        ("options.true_cfg_scale", request.options.true_cfg_scale.is_some()),
        ("options.max_sequence_length", request.options.max_sequence_length.is_some()),
    ];
    if let Some((field, _)) = foreign.iter().find(|(_, given)| *given) {
        return Err(Error::invalid(format!("{field} is given, which only FLUX's pipeline does"))
            .with_hint(format!("leave {field} out")));
    }
    if preview_every == Some(0) {
        return Err(Error::invalid("options.preview_every is 0").with_hint("leave it out for no previews"));
    }
    Ok(())
}

/// What a request comes to, before memory is asked for.
struct Checked {
    adapters: AdapterSet,
    work: Work,
    schedule: Schedule,
    begin: usize,
    /// Height and width in latents.
    size: (i64, i64),
}

impl Checked {
    /// Refuses what cannot be done.
    fn of(family: &dyn Family, request: &Request) -> Result<Self> {
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
        Ok(Self { adapters, work, schedule, begin, size })
    }
}

/// A request on its way.
struct Job<'a> {
    family: &'a dyn Family,
    request: &'a Request,
    checked: Rc<Checked>,
    texts: text::Texts,
    source: start::Source,
    /// That of all requests that are made together.
    admission: Rc<Admission>,
    tiling: Option<Tiling>,
    preview: Option<(&'a Preview, u32)>,
}

impl<'a> Job<'a> {
    /// Reads the texts and pictures of a request.
    fn open(
        family: &'a dyn Family,
        request: &'a Request,
        checked: Checked,
        admission: Rc<Admission>,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let model = family.model();
        let tiling = model.tiling(request, &admission);
        for warning in model.warnings.iter().map(String::as_str).chain(admission.warning()) {
            observer.warn(warning);
        }
        tell_adapters(&checked.adapters, observer);
        let texts = {
            let _computing = admission.enter(PhaseKind::EncodeText)?;
            model.encode_prompts(family, request, &checked.adapters, pool, observer)?
        };
        let source = if checked.work == Work::Text {
            start::Source::default()
        } else {
            let _computing = admission.enter(PhaseKind::EncodePicture)?;
            model.read(&checked.work, tiling, pool, observer)?
        };
        let preview = model.preview(family, request, &checked.work, pool)?;
        let checked = Rc::new(checked);
        Ok(Self { family, request, checked, texts, source, admission, tiling, preview })
    }

    /// What the latents of one picture look like.
    fn decode(&self, latents: &Tensor, image: u32, pool: &Pool, observer: &mut dyn Observer) -> Result<Pixels> {
        let model = self.family.model();
        let vae = model.lease_decoder(pool)?;
        if image == 0 {
            vae.warnings().iter().for_each(|warning| observer.warn(warning));
        }
        let _computing = self.admission.enter(PhaseKind::Decode)?;
        let [_, scaling] = self.family.scalings(&self.checked.work);
        let latents = scaling.undo(&model.vae, &latents.f_totype(model.vae_kind)?)?;
        let decoded = vae.decode(&latents, self.tiling, &mut || going_on(observer))?;
        let decoded = pixels::to_unit_range(&decoded)?;
        observer.dump(&dump_name(image, "image"), &decoded);
        let rgb = pixels::to_rgb(&decoded)?;
        let made = Pixels { width: self.request.width, height: self.request.height, rgb };
        Ok(match &self.checked.work {
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
