//! From prompts to what the UNet is conditioned on.

use tch::{Kind, Tensor};

use super::Sdxl;
use super::open::TIME_IDS;
use crate::Result;
use crate::models::unet::{Conditioning, Conditions};
use crate::models::{ClipText, UNet};
use crate::pipelines::{Observer, Request, guidance};
use crate::pool::{Lease, Pool};
use crate::tokenizer::ClipTokenizer;

/// A tokenizer and the encoder behind it.
#[derive(Debug)]
pub(super) struct TextEncoder<'a> {
    pub tokenizer: &'a ClipTokenizer,
    pub model: Lease<ClipText>,
}

/// The prompts of a request, encoded.
pub(super) struct Texts {
    positive: Encoded,
    /// Where guidance is computed.
    negative: Option<Encoded>,
}

/// A prompt, encoded.
struct Encoded {
    /// `(1, tokens, widths of the encoders together)`.
    states: Tensor,
    /// `(1, projection_dim)`.
    pooled: Tensor,
}

impl Sdxl {
    /// Encodes the prompts; the encoders are needed no longer after that.
    pub(super) fn encode_prompts(&self, request: &Request, pool: &Pool, observer: &mut dyn Observer) -> Result<Texts> {
        let encoders = self.lease_encoders(pool)?;
        encoders.iter().flat_map(|encoder| encoder.model.warnings()).for_each(|warning| observer.warn(warning));
        let positive = self.encode(&encoders, &request.prompt, Some("prompt"), observer)?;
        observer.dump("prompt_embeds", &positive.states);
        observer.dump("pooled", &positive.pooled);
        if !self.guides(request) {
            return Ok(Texts { positive, negative: None });
        }
        let negative = match (&request.negative_prompt, self.force_zeros) {
            (None, true) => {
                Encoded { states: positive.states.f_zeros_like()?, pooled: positive.pooled.f_zeros_like()? }
            }
            (prompt, _) => self.encode(&encoders, prompt.as_deref().unwrap_or_default(), None, observer)?,
        };
        observer.dump("negative_prompt_embeds", &negative.states);
        observer.dump("negative_pooled", &negative.pooled);
        Ok(Texts { positive, negative: Some(negative) })
    }

    /// Computes all that the prompts decide. With guidance the batch is two: the negative prompt comes first.
    pub(super) fn condition(&self, request: &Request, unet: &UNet, texts: &Texts) -> Result<Conditioning> {
        let positive = &texts.positive;
        let time_ids = self.time_ids(request)?;
        let Some(negative) = &texts.negative else {
            let guidance = match self.unet.time.cond_proj_dim {
                Some(dim) => Some(guidance::embed(request.guidance_scale, dim)?.f_to(self.device)?),
                None => None,
            };
            return unet.condition(&Conditions {
                text: &positive.states,
                pooled: Some(&positive.pooled),
                time_ids: Some(&time_ids),
                guidance: guidance.as_ref(),
            });
        };
        unet.condition(&Conditions {
            text: &Tensor::f_cat(&[&negative.states, &positive.states], 0)?,
            pooled: Some(&Tensor::f_cat(&[&negative.pooled, &positive.pooled], 0)?),
            time_ids: Some(&time_ids.f_repeat([2, 1])?),
            guidance: None,
        })
    }

    /// Penultimate states of all encoders side by side, and the first pooled text there is.
    fn encode(
        &self,
        encoders: &[TextEncoder<'_>],
        prompt: &str,
        dumped: Option<&str>,
        observer: &mut dyn Observer,
    ) -> Result<Encoded> {
        let mut states = Vec::new();
        let mut pooled = None;
        let mut cut = Vec::new();
        for (number, encoder) in (1..).zip(encoders) {
            let encoded = encoder.tokenizer.encode(prompt)?;
            let ids = Tensor::f_from_slice(&encoded.ids)?.f_unsqueeze(0)?;
            if dumped.is_some() {
                observer.dump(&format!("input_ids_{number}"), &ids);
            }
            if let Some(text) = encoded.truncated
                && !cut.contains(&text)
            {
                let which = dumped.unwrap_or("negative prompt");
                let most = encoded.ids.len();
                observer
                    .warn(&format!("the {which} is cut off, the model reads {most} tokens: \"{text}\" is left out"));
                cut.push(text);
            }
            let state = encoder.model.forward(&ids.f_to(self.device)?)?;
            states.push(state.penultimate);
            pooled = pooled.or(state.pooled);
        }
        let pooled = pooled.ok_or_else(|| crate::Error::internal("no text encoder pools"))?;
        Ok(Encoded { states: Tensor::f_cat(&states, -1)?, pooled })
    }

    /// `(1, 6)`: original size, crop and target size, height before width. They pass through the computing type, as
    /// in diffusers.
    fn time_ids(&self, request: &Request) -> Result<Tensor> {
        let (height, width) = (i64::from(request.height), i64::from(request.width));
        let ids = Tensor::f_from_slice(&[height, width, 0, 0, height, width])?;
        let ids = ids.f_totype(self.kind)?.f_view([1, TIME_IDS])?;
        Ok(ids.f_to_device_(self.device, Kind::Float, false, false)?)
    }
}
