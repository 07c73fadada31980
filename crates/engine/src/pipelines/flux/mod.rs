//! FLUX.1 (Black Forest Labs 2024), schnell and dev: `FluxPipeline` of diffusers. Which of the two it is shows in the
//! transformer's config, which says whether it is told of the guidance.

mod denoise;
mod open;
mod pack;
mod prompt;

use easel_engine_protocol::Dtype;
use serde_json::Value;
use tch::{Device, Kind};

use super::size::latent_size;
use super::{Observer, Picture, Pipeline, Request, memory};
use crate::config::{FluxConfig, VaeConfig};
use crate::models::FluxTransformer;
use crate::models::vae::{self, VaeDecoder};
use crate::parts::ModelParts;
use crate::pool::{Lease, Pool};
use crate::schedulers::{Ask, Schedule};
use crate::tokenizer::{ClipTokenizer, T5Tokenizer};
use crate::{Error, Result};

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
    transformer: FluxConfig,
    vae: VaeConfig,
    warnings: Vec<String>,
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

    fn lease_transformer(&self, pool: &Pool) -> Result<Lease<FluxTransformer>> {
        pool.lease(self.parts.needed("transformer", "FluxTransformer2DModel")?, self.kind)
    }

    fn lease_vae(&self, pool: &Pool) -> Result<Lease<VaeDecoder>> {
        pool.lease(&vae::decoder_part(self.parts.needed("vae", "AutoencoderKL")?), self.vae_kind)
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
fn check(request: &Request) -> Result<()> {
    let scales = [("guidance_scale", Some(request.guidance_scale)), ("true_cfg_scale", request.options.true_cfg_scale)];
    for (name, scale) in scales {
        if scale.is_some_and(|scale| !scale.is_finite()) {
            return Err(Error::invalid(format!("{name} is not a number")));
        }
    }
    let options = &request.options;
    let foreign = [
        ("clip_skip", options.clip_skip.is_some()),
        ("guidance_rescale", options.guidance_rescale != 0.0),
        ("long_prompts", options.long_prompts),
        ("prompt_weights", options.prompt_weights),
    ];
    match foreign.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => {
            Err(Error::invalid(format!("{name} has no meaning for FLUX")).with_hint(format!("leave {name} out")))
        }
        None => Ok(()),
    }
}

impl Pipeline for Flux {
    fn load(&self, pool: &Pool) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        self.lease_clip(pool)?;
        self.lease_t5(pool)?;
        self.lease_transformer(pool)?;
        self.lease_vae(pool)?;
        Ok(())
    }

    /// One after the other: a picture does not depend on its neighbours.
    fn generate(&self, request: &Request, pool: &Pool, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        let _no_grad = tch::no_grad_guard();
        check(request)?;
        // Two latents each way make a patch.
        let grid = latent_size(request.width, request.height, self.vae.scale_factor().saturating_mul(2))?;
        let schedule = self.schedule(request, grid)?;
        memory::check(&self.vae, (request.width, request.height), self.device, self.vae_kind)?;
        let texts = self.encode_prompts(request, pool, observer)?;
        let (transformer, vae) = (self.lease_transformer(pool)?, self.lease_vae(pool)?);
        let warnings = self.warnings.iter().chain(transformer.warnings()).chain(vae.warnings());
        warnings.for_each(|warning| observer.warn(warning));
        let conditionings = self.condition(request, &transformer, &texts, grid)?;
        observer.encoded();
        let mut pictures = Vec::with_capacity(request.seeds.len());
        for (image, &seed) in (0..).zip(&request.seeds) {
            let latents = self.denoise(&transformer, &schedule, &conditionings, (image, seed), grid, observer)?;
            let rgb = self.decode(&vae, &latents, image, observer)?;
            let picture = Picture { seed, width: request.width, height: request.height, rgb };
            observer.picture(image, &picture);
            pictures.push(picture);
        }
        Ok(pictures)
    }
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
