//! What the UNet is told beside the latents: the prompts, and the sizes that SDXL was trained with.

use tch::{Kind, Tensor};

use super::{Family, LatentModel};
use crate::adapters::AdapterSet;
use crate::models::UNet;
use crate::models::unet::{Conditioning, Conditions};
use crate::pipelines::text::{Encoded, Prompt, Texts, Which, encode};
use crate::pipelines::{Observer, Request, guidance};
use crate::pool::Pool;
use crate::{Error, Result};

impl LatentModel {
    /// Encodes the prompts; the encoders are needed no longer after that.
    pub(super) fn encode_prompts(
        &self,
        family: &dyn Family,
        request: &Request,
        adapters: &AdapterSet,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Texts> {
        let encoders = self.encoders(adapters, pool)?;
        let layer = family.layer(request.options.clip_skip.unwrap_or_default());
        let mut prompts = vec![Prompt { text: &request.prompt, layer, which: Which::Prompt }];
        let guides = self.guides(request);
        let absent = request.negative_prompt.is_none() && family.absent_is_zeros();
        if guides && !absent {
            let text = request.negative_prompt.as_deref().unwrap_or_default();
            prompts.push(Prompt { text, layer: family.layer(0), which: Which::Negative });
        }
        let mut encoded = encode(&encoders, request, &prompts, observer)?.into_iter();
        let positive = encoded.next().ok_or_else(|| Error::internal("a prompt was not encoded"))?;
        dump(observer, ["prompt_embeds", "pooled"], &positive);
        if !guides {
            return Ok(Texts { positive, negative: None });
        }
        let negative = match encoded.next() {
            Some(negative) => negative,
            None => Encoded {
                states: positive.states.f_zeros_like()?,
                pooled: positive.pooled.as_ref().map(Tensor::f_zeros_like).transpose()?,
            },
        };
        dump(observer, ["negative_prompt_embeds", "negative_pooled"], &negative);
        Ok(Texts { positive, negative: Some(negative) })
    }

    /// Computes all that prompts decide, for as many pictures of each as are computed together. With guidance there are
    /// twice as many rows: those of the negative prompts come first. `request` says what is the same for all.
    pub(super) fn condition(
        &self,
        family: &dyn Family,
        request: &Request,
        unet: &UNet,
        prompts: &[(&Texts, usize)],
    ) -> Result<Conditioning> {
        let pictures = prompts.iter().map(|(_, pictures)| pictures).sum();
        let guided = prompts.iter().all(|(texts, _)| texts.negative.is_some());
        let rows = |of: &dyn Fn(&Encoded) -> Result<&Tensor>| -> Result<Tensor> {
            let negative = prompts.iter().filter_map(|(texts, pictures)| Some((texts.negative.as_ref()?, *pictures)));
            let positive = prompts.iter().map(|(texts, pictures)| (&texts.positive, *pictures));
            let rows = negative.chain(positive).map(|(encoded, pictures)| repeated(of(encoded)?, pictures));
            Ok(Tensor::f_cat(&rows.collect::<Result<Vec<_>>>()?, 0)?)
        };
        let text = rows(&|encoded| Ok(&encoded.states))?;
        let sizes = match family.sizes(request) {
            Some([given, of_negative]) => {
                let (given, of_negative) = (repeated(&self.sizes(&given)?, pictures)?, self.sizes(&of_negative)?);
                Some(if guided { Tensor::f_cat(&[repeated(&of_negative, pictures)?, given], 0)? } else { given })
            }
            None => None,
        };
        let pools = |encoded: &Encoded| encoded.pooled.is_some();
        let pooled = match &sizes {
            Some(_) if prompts.iter().all(|(texts, _)| pools(&texts.positive)) => {
                Some(rows(&|encoded| encoded.pooled.as_ref().ok_or_else(|| Error::internal("a prompt is not pooled")))?)
            }
            Some(_) => return Err(Error::internal("no text encoder pools")),
            None => None,
        };
        let guidance = match self.unet.time.cond_proj_dim {
            Some(dim) => Some(repeated(&guidance::embed(request.guidance_scale, dim)?.f_to(self.device)?, pictures)?),
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

/// The one row of `tensor`, so often.
fn repeated(tensor: &Tensor, times: usize) -> Result<Tensor> {
    let mut repeats = vec![1; tensor.dim()];
    repeats.iter_mut().take(1).for_each(|rows| *rows = i64::try_from(times).unwrap_or(i64::MAX));
    Ok(tensor.f_repeat(repeats)?)
}

fn dump(observer: &mut dyn Observer, [states, pooled]: [&str; 2], encoded: &Encoded) {
    observer.dump(states, &encoded.states);
    if let Some(tensor) = &encoded.pooled {
        observer.dump(pooled, tensor);
    }
}
