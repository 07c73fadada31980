//! What turns a request into pictures: text encoders, noise, schedule, UNet or transformer, and VAE in order. Pipelines know no
//! queue, no socket and no file but the model's.

mod brownian;
mod denoise;
mod flux;
mod guidance;
mod latent;
mod memory;
mod noise;
mod phases;
mod pixels;
mod preview;
mod sampler;
mod sd;
mod sdxl;
mod size;
mod text;
mod together;
mod work;

use std::ops::ControlFlow;

use easel_engine_protocol::{Lora, Options};
use serde_json::{Map, Value};
use tch::Tensor;

pub use flux::Flux;
pub use noise::{Generator, Noise, unit_noise};
pub use sampler::{NoiseSource, Sampler};
pub use sd::Sd;
pub use sdxl::Sdxl;

use crate::Result;
use crate::adapters::{AdapterSet, MatchReport};
use crate::models::vae::Tiling;
use crate::pictures::Pixels;
use crate::pool::Pool;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// What the picture shows.
    pub prompt: String,
    /// What it must not show; absent and empty differ where the pipeline says `force_zeros_for_empty_prompt`.
    pub negative_prompt: Option<String>,
    /// One picture for each, in this order.
    pub seeds: Vec<u64>,
    /// Denoising steps.
    pub steps: u32,
    /// Classifier-free guidance; computed only above 1. Networks that embed the scale are told of it instead.
    pub guidance_scale: f64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Keys in place of those of the model's own schedule.
    pub scheduler: Option<Map<String, Value>>,
    /// A picture to begin from.
    pub image: Option<Pixels>,
    /// Where it is repainted: white is, black stays.
    pub mask: Option<Pixels>,
    /// How far the picture may go from `image`; absent, the pipeline's own.
    pub strength: Option<f64>,
    /// Repaints only a crop around the mask, this many pixels wider on each side.
    pub mask_padding: Option<u32>,
    /// Adapters in the order in which they are applied.
    pub loras: Vec<Lora>,
    /// What is done beside the plain recipe.
    pub options: Options,
    /// At most so many pictures are computed together; 0 and 1 are one after the other. Their numbers are then rounded
    /// otherwise in their last places, no more.
    pub together: usize,
    /// In which tiles the VAE works; absent, on whole pictures.
    pub tiling: Option<Tiling>,
}

/// A model that makes pictures. It holds no network: it leases what it computes with from the pool of its device, and
/// everything about it happens on the thread that owns that device.
pub trait Pipeline {
    /// Builds every network that it uses, so that what is wrong with them is told before anything is made.
    fn load(&self, pool: &Pool) -> Result<()>;

    /// Makes one picture for each seed.
    fn generate(&self, request: &Request, pool: &Pool, observer: &mut dyn Observer) -> Result<Vec<Picture>>;

    /// Makes the pictures of requests that differ in nothing but texts, seeds and the pictures they begin from; one
    /// result for each, in their order. Every request gets what it would get alone, and one that fails or is broken off
    /// stops no other. One after the other, unless the pipeline can do better.
    fn generate_together(&self, requests: &mut [Together<'_>], pool: &Pool) -> Vec<Result<Vec<Picture>>> {
        requests.iter_mut().map(|one| self.generate(one.request, pool, one.observer)).collect()
    }
}

/// One of several requests that are made together.
pub struct Together<'a> {
    /// What is asked for.
    pub request: &'a Request,
    /// Who is told how it goes.
    pub observer: &'a mut dyn Observer,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The seed of its noise.
    pub seed: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Rows of red, green and blue bytes.
    pub rgb: Vec<u8>,
}

/// Is told how a request goes, on the thread that computes. All but the end of a step may be left out.
pub trait Observer {
    /// The prompts are encoded.
    fn encoded(&mut self) {}

    /// `step` (from 1) of `steps` of the picture at `image` (from 0) is done. Break ends the request here.
    fn step(&mut self, image: u32, step: u32, steps: u32) -> ControlFlow<()>;

    /// The picture at `image` is done.
    fn picture(&mut self, _image: u32, _picture: &Picture) {}

    /// What the picture at `image` looks like so far, small, after `step` steps.
    fn preview(&mut self, _image: u32, _step: u32, _preview: &Pixels) {}

    /// Whether the request is to end here; asked where a step is long in parts.
    fn is_cancelled(&mut self) -> bool {
        false
    }

    /// How each adapter of the request meets the model, in their order; not said where there is none.
    fn adapters(&mut self, _reports: &[MatchReport]) {}

    /// Something goes otherwise than asked; a sentence for people.
    fn warn(&mut self, _message: &str) {}

    /// What was computed on the way, under the name that the parity fixtures use. Names of the first picture stand
    /// alone, those of picture `n` begin with `image_n.`.
    fn dump(&mut self, _name: &str, _tensor: &Tensor) {}
}

/// Tells how the adapters of a request meet its model.
fn tell_adapters(adapters: &AdapterSet, observer: &mut dyn Observer) {
    if !adapters.reports().is_empty() {
        observer.adapters(adapters.reports());
    }
    adapters.warnings().for_each(|warning| observer.warn(&warning));
}

/// A name for [`Observer::dump`].
fn dump_name(image: u32, name: &str) -> String {
    if image == 0 { name.to_owned() } else { format!("image_{image}.{name}") }
}
