//! A request as a job of the engine: every default filled in, every seed drawn.

use std::num::NonZeroU32;

use base64_simd::STANDARD;
use easel_engine_protocol::{
    Dtype, GenerateJob, InputImage, Lora, ModelSource, Options, nearest_schedulers, scheduler_keys,
};
use serde_json::{Map, Value};

use super::adapters::Adapters;
use super::places::Places;
use crate::generation::{GenerationRequest, ImageSize, Seed, SizeWish, SourceImage, Wish};
use crate::providers::{Error, ErrorKind};

/// A model that is here, with everything that it uses when nothing is said.
pub(super) struct LocalModel {
    /// Where it lies and how it is driven.
    pub source: ModelSource,
    pub size: ImageSize,
    pub steps: u32,
    pub guidance_scale: f64,
    pub negative_prompt: Option<String>,
    pub scheduler: Option<Map<String, Value>>,
    pub strength: Option<f64>,
    pub options: Options,
    pub dtype: Option<Dtype>,
}

/// What is sent, and what was left out of it.
pub(super) struct Job {
    pub body: GenerateJob,
    pub ignored: Vec<Wish>,
    /// Where its files lie.
    pub places: Places,
}

impl LocalModel {
    /// The job for `request`, with this many previews of each picture; [`ErrorKind::Unsupported`] when a strict request
    /// names a scheduler that there is not, or any an adapter.
    pub(super) fn job(&self, request: &GenerationRequest, adapters: &Adapters, previews: u8) -> Result<Job, Error> {
        let size = match request.size {
            SizeWish::Exact(size) => size,
            SizeWish::ModelDefault | SizeWish::Aspect(_) => self.size,
        };
        let seed = request.seed.unwrap_or_else(draw_seed);
        let mut ignored = Vec::new();
        let mut scheduler = self.scheduler.clone();
        if let Some(name) = &request.scheduler {
            match scheduler_keys(name) {
                Some(keys) => scheduler.get_or_insert_default().extend(keys),
                None if request.strict => {
                    let nearest = nearest_schedulers(name).join(", ");
                    let message = format!("there is no scheduler `{name}`: the nearest are {nearest}");
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                None => ignored.push(Wish::Scheduler),
            }
        }
        let steps = request.steps.map_or(self.steps, NonZeroU32::get);
        let preview_every = (previews > 0).then(|| steps.div_ceil(u32::from(previews) + 1).max(1));
        let loras = request
            .loras
            .iter()
            .map(|lora| Ok(Lora { path: adapters.find(&lora.name)?, weight: lora.weight, text_encoder_weight: None }));
        let body = GenerateJob {
            negative_prompt: request.negative_prompt.clone().or_else(|| self.negative_prompt.clone()),
            seeds: (0..request.count.get()).map(|index| seed.offset(index).get()).collect(),
            steps,
            guidance_scale: request.guidance_scale.unwrap_or(self.guidance_scale),
            width: size.width.get(),
            height: size.height.get(),
            scheduler,
            image: request.image.as_ref().map(input),
            mask: request.mask.as_ref().map(input),
            strength: request.strength.or(self.strength).filter(|_| request.image.is_some()),
            loras: loras.collect::<Result<_, Error>>()?,
            options: Options { preview_every, ..self.options.clone() },
            dtype: self.dtype,
            ..GenerateJob::new(self.source.clone(), &request.prompt)
        };
        let places = Places::of(&body, request.loras.iter().map(|lora| lora.name.as_str()));
        Ok(Job { body, ignored, places })
    }
}

fn input(image: &SourceImage) -> InputImage {
    InputImage(STANDARD.encode_to_string(&image.bytes))
}

/// A seed from 0 to 2^32-1: every program takes those, and people can copy them.
fn draw_seed() -> Seed {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    Seed::from(u32::try_from(random >> 32).unwrap_or(u32::MAX))
}
