//! What the UNet is told beside the latents: the prompts, and the sizes that SDXL was trained with.

use tch::{Kind, Tensor};

use super::{Family, LatentModel};
use crate::models::UNet;
use crate::models::unet::{Conditioning, Conditions};
use crate::pipelines::text::{Encoded, Texts, Which, encode};
use crate::pipelines::{Observer, Request, guidance};
use crate::pool::Pool;
use crate::{Error, Result};

impl LatentModel {
    /// Encodes the prompts; the encoders are needed no longer after that.
    pub(super) fn encode_prompts(
        &self,
        family: &dyn Family,
        request: &Request,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Texts> {
        let encoders = self.lease_encoders(pool)?;
        encoders.iter().flat_map(|encoder| encoder.model.warnings()).for_each(|warning| observer.warn(warning));
        let layer = family.layer(request.options.clip_skip.unwrap_or_default());
        let positive = encode(&encoders, &request.prompt, layer, Which::Prompt, observer)?;
        dump(observer, ["prompt_embeds", "pooled"], &positive);
        if !self.guides(request) {
            return Ok(Texts { positive, negative: None });
        }
        let negative = match (&request.negative_prompt, family.absent_is_zeros()) {
            (None, true) => Encoded {
                states: positive.states.f_zeros_like()?,
                pooled: positive.pooled.as_ref().map(Tensor::f_zeros_like).transpose()?,
            },
            (prompt, _) => {
                let prompt = prompt.as_deref().unwrap_or_default();
                encode(&encoders, prompt, family.layer(0), Which::Negative, observer)?
            }
        };
        dump(observer, ["negative_prompt_embeds", "negative_pooled"], &negative);
        Ok(Texts { positive, negative: Some(negative) })
    }

    /// Computes all that the prompts decide, for `pictures` at once. With guidance there are twice as many rows: those of
    /// the negative prompt come first.
    pub(super) fn condition(
        &self,
        family: &dyn Family,
        request: &Request,
        unet: &UNet,
        texts: &Texts,
        pictures: usize,
    ) -> Result<Conditioning> {
        let count = i64::try_from(pictures).unwrap_or(i64::MAX);
        let rows = |positive: &Tensor, negative: Option<&Tensor>| -> Result<Tensor> {
            let repeated = |tensor: &Tensor| {
                let mut times = vec![1; tensor.dim()];
                times.iter_mut().take(1).for_each(|rows| *rows = count);
                tensor.f_repeat(times)
            };
            Ok(match negative {
                Some(negative) => Tensor::f_cat(&[repeated(negative)?, repeated(positive)?], 0)?,
                None => repeated(positive)?,
            })
        };
        let (positive, negative) = (&texts.positive, texts.negative.as_ref());
        let text = rows(&positive.states, negative.map(|negative| &negative.states))?;
        let sizes = match family.sizes(request) {
            Some([given, of_negative]) => {
                let (given, of_negative) = (self.sizes(&given)?, self.sizes(&of_negative)?);
                Some(rows(&given, negative.map(|_| &of_negative))?)
            }
            None => None,
        };
        let pooled = match (&positive.pooled, &sizes) {
            (Some(pooled), Some(_)) => Some(rows(pooled, negative.and_then(|negative| negative.pooled.as_ref()))?),
            (None, Some(_)) => return Err(Error::internal("no text encoder pools")),
            (_, None) => None,
        };
        let guidance = match self.unet.time.cond_proj_dim {
            Some(dim) => Some(rows(&guidance::embed(request.guidance_scale, dim)?.f_to(self.device)?, None)?),
            None => None,
        };
        unet.condition(&Conditions {
            text: &text,
            pooled: pooled.as_ref(),
            time_ids: sizes.as_ref(),
            guidance: guidance.as_ref(),
        })
    }

    /// `(1, numbers)`. They pass through the computing type, as in diffusers.
    fn sizes(&self, numbers: &[f64]) -> Result<Tensor> {
        let row = Tensor::f_from_slice(numbers)?.f_totype(self.kind)?.f_unsqueeze(0)?;
        Ok(row.f_to_device_(self.device, Kind::Float, false, false)?)
    }
}

fn dump(observer: &mut dyn Observer, [states, pooled]: [&str; 2], encoded: &Encoded) {
    observer.dump(states, &encoded.states);
    if let Some(tensor) = &encoded.pooled {
        observer.dump(pooled, tensor);
    }
}
