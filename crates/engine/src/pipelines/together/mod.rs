//! Requests that differ in what they show, each with its pictures, through the steps together. A request alone is the
//! simplest case of that. What a request is told, and whether it goes on, is its own. What the network is and what it is
//! told of texts, each pipeline says through [`Maker`].

mod batch;
mod crowd;
mod job;
mod start;

use std::cell::OnceCell;
use std::rc::Rc;

use easel_engine_protocol::PipelineKind;
use tch::{Device, Kind, Tensor};

pub use job::Checked;
use job::{Job, Member};
pub use start::{Beside, Start};

use self::batch::Batch;
use super::denoise::Watch;
use super::noise::Noise;
use super::preview::Preview;
use super::work::Work;
use super::{Observer, Picture, Request, Sampler, Together};
use crate::adapters::AdapterSet;
use crate::config::VaeConfig;
use crate::models::VaeDecoder;
use crate::models::vae::{self, Scaling, Tiling};
use crate::parts::ModelParts;
use crate::pool::{Admission, Lease, Network, Pool};
use crate::{Error, Result};

/// A model, and what its pipeline does in its own way.
pub trait Maker {
    /// What cleans latents.
    type Network: Network;
    /// The prompts of a request, encoded.
    type Texts;
    /// The pictures of a request, encoded.
    type Source;
    /// What the network is told of some pictures beside their latents; the same at every step.
    type Told;

    /// What does not differ but in values.
    fn common(&self) -> Common<'_>;

    /// Refuses what cannot be done, before memory is asked for.
    fn checked(&self, request: &Request) -> Result<Checked>;

    /// Asks for the memory of all pictures of `request`, which are those of so many jobs.
    fn admitted(&self, request: &Request, checked: &Checked, jobs: usize, pool: &Pool) -> Result<Admission>;

    /// Reads the prompts.
    fn texts(
        &self,
        request: &Request,
        adapters: &AdapterSet,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Self::Texts>;

    /// Whether both can stand in one batch: longer texts are read in more rows.
    fn read_alike(a: &Self::Texts, b: &Self::Texts) -> bool;

    /// Reads the pictures that it begins from.
    fn source(
        &self,
        work: &Work,
        tiling: Option<Tiling>,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Self::Source>;

    /// Draws what the pictures of `noise` begin with.
    fn begin(
        &self,
        source: &Self::Source,
        work: &Work,
        sampler: &Sampler<'_>,
        noise: &mut Noise,
        watched: &mut dyn Watch,
    ) -> Result<Start>;

    /// The network with these adapters.
    fn network(&self, adapters: &AdapterSet, pool: &Pool) -> Result<Lease<Self::Network>>;

    /// Computes all that prompts decide, for so many pictures of each. `request` says what is the same for all, `times`
    /// at which timesteps the network will be asked.
    fn told(
        &self,
        request: &Request,
        network: &Self::Network,
        texts: &[(&Self::Texts, usize)],
        times: &[f64],
    ) -> Result<Self::Told>;

    /// What the network says of `sample`, `(n, …)`, with guidance where there is some.
    fn predicted(
        &self,
        network: &Self::Network,
        sample: &Tensor,
        timestep: f64,
        beside: Option<&Beside>,
        told: &Self::Told,
    ) -> Result<Tensor>;

    /// How latents are scaled before they are decoded.
    fn unscaling(&self, work: &Work) -> Scaling;
}

/// What the models of all pipelines have.
#[derive(Clone, Copy)]
pub struct Common<'a> {
    pub pipeline: PipelineKind,
    pub parts: &'a ModelParts,
    pub device: Device,
    pub vae: &'a VaeConfig,
    /// The kind that the VAE computes in.
    pub vae_kind: Kind,
    pub warnings: &'a [String],
    pub preview: &'a OnceCell<Preview>,
}

impl<'a> Common<'a> {
    /// The half of the VAE that draws.
    pub fn lease_decoder(self, pool: &Pool) -> Result<Lease<VaeDecoder>> {
        pool.lease(&vae::decoder_part(self.parts.needed("vae", "AutoencoderKL")?), self.vae_kind)
    }

    /// The half of the VAE that reads.
    pub fn lease_encoder(self, pool: &Pool) -> Result<Lease<vae::VaeEncoder>> {
        pool.lease(&vae::encoder_part(self.parts.needed("vae", "AutoencoderKL")?), self.vae_kind)
    }

    /// What shows latents of this scaling, and after how many steps each, where that is asked for.
    fn preview(self, request: &Request, scaling: Scaling, pool: &Pool) -> Result<Option<(&'a Preview, u32)>> {
        let Some(every) = request.options.preview_every else { return Ok(None) };
        if self.preview.get().is_none() {
            let decoder = self.lease_decoder(pool)?;
            // Set already only if it was fitted meanwhile, which one thread does not.
            let _ = self.preview.set(Preview::fit(&decoder, (self.vae, scaling), (self.device, self.vae_kind))?);
        }
        Ok(self.preview.get().map(|preview| (preview, every)))
    }
}

/// Makes one picture for each seed.
pub fn generate_alone<M: Maker + ?Sized>(
    maker: &M,
    request: &Request,
    pool: &Pool,
    observer: &mut dyn Observer,
) -> Result<Vec<Picture>> {
    let made = generate(maker, &mut [Together { request, observer }], pool).pop();
    made.unwrap_or_else(|| Err(Error::internal("a request has no result")))
}

/// Makes the pictures of requests; one result for each, in their order.
pub fn generate<M: Maker + ?Sized>(maker: &M, requests: &mut [Together<'_>], pool: &Pool) -> Vec<Result<Vec<Picture>>> {
    let _no_grad = tch::no_grad_guard();
    let checked: Vec<Result<Checked>> = requests.iter().map(|one| check(maker, one.request)).collect();
    let admission = match admit(maker, requests, &checked, pool) {
        Ok(admission) => admission.map(Rc::new),
        // Each is told what it would be told alone, and made if it fits alone.
        Err(_) if requests.len() > 1 => {
            return requests.chunks_mut(1).flat_map(|alone| generate(maker, alone, pool)).collect();
        }
        Err(error) => return vec![Err(error)],
    };
    let mut results: Vec<Result<Vec<Picture>>> = requests.iter().map(|_| Ok(Vec::new())).collect();
    let mut groups: Vec<Vec<Member<'_, M>>> = Vec::new();
    for (((one, checked), place), result) in requests.iter_mut().zip(checked).zip(0..).zip(&mut results) {
        let admission = admission.as_ref().map(Rc::clone).ok_or_else(|| Error::internal("nothing was admitted"));
        let opened = checked.and_then(|checked| Job::open(maker, one.request, checked, admission?, pool, one.observer));
        match opened {
            Ok(job) => {
                let member = Member::new(place, job, &mut *one.observer);
                match groups.iter_mut().find(|group| group.first().is_some_and(|first| first.reads_as(&member))) {
                    Some(group) => group.push(member),
                    None => groups.push(vec![member]),
                }
            }
            Err(error) => *result = Err(error),
        }
    }
    for group in groups {
        for (place, made) in Batch::new(maker, group).make(pool) {
            if let Some(result) = results.get_mut(place) {
                *result = made;
            }
        }
    }
    results
}

/// Refuses what no pipeline does, and what this one does not.
fn check<M: Maker + ?Sized>(maker: &M, request: &Request) -> Result<Checked> {
    let pipeline = maker.common().pipeline;
    if let Some(option) = request.options.foreign_to(pipeline) {
        return Err(Error::invalid(format!("options.{option} is given, which the {pipeline} pipeline does not have"))
            .with_hint(format!("leave options.{option} out")));
    }
    if request.options.preview_every == Some(0) {
        return Err(Error::invalid("options.preview_every is 0").with_hint("leave it out for no previews"));
    }
    maker.checked(request)
}

/// Asks for the memory of all that can be done; `None` where nothing can.
fn admit<M: Maker + ?Sized>(
    maker: &M,
    requests: &[Together<'_>],
    checked: &[Result<Checked>],
    pool: &Pool,
) -> Result<Option<Admission>> {
    let can_be = requests.iter().zip(checked).filter_map(|(one, checked)| Some((one.request, checked.as_ref().ok()?)));
    let Some((first, checked)) = can_be.clone().next() else { return Ok(None) };
    let jobs = can_be.clone().count();
    let seeds: Vec<u64> = can_be.flat_map(|(request, _)| request.seeds.clone()).collect();
    let together = if requests.len() > 1 && !lockstep(maker) { seeds.len() } else { first.together };
    let all = Request { seeds, together, image: None, mask: None, ..first.clone() };
    maker.admitted(&all, checked, jobs, pool).map(Some)
}

/// Whether requests go through the steps side by side, but each picture through the network by itself: on a processor,
/// which gains little by a batch, every picture is then what it is alone to the bit.
fn lockstep<M: Maker + ?Sized>(maker: &M) -> bool {
    maker.common().device == Device::Cpu
}

/// Ends the work where nobody waits for it.
pub fn going_on(observer: &mut dyn Observer) -> Result<()> {
    if observer.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
}
