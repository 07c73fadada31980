//! From prompts to what the transformer is conditioned on: T5's states, and CLIP's pooled state.

use std::cell::OnceCell;
use std::num::TryFromIntError;

use tch::Tensor;

use super::Flux;
use crate::adapters::AdapterSet;
use crate::models::flux::{Conditioning, Conditions};
use crate::models::{ClipText, FluxTransformer, T5Encoder};
use crate::parts::Part;
use crate::pipelines::text::{Known, TextKey, once};
use crate::pipelines::{Observer, Request};
use crate::pool::{Lease, Pool};
use crate::tokenizer::Encoded;
use crate::{Error, Result};

/// The prompts of a request, encoded.
pub struct Texts {
    positive: Text,
    /// Where a negative prompt is computed.
    negative: Option<Text>,
}

/// A prompt, encoded.
struct Text {
    /// `(1, tokens, d_model)`.
    states: Tensor,
    /// `(1, hidden_size)`.
    pooled: Tensor,
}

/// What the network is run with at every step.
pub struct Conditionings {
    pub positive: Conditioning,
    /// The negative prompt, and how far the prediction is pulled away from it.
    pub negative: Option<(Conditioning, f64)>,
}

impl Texts {
    /// Whether both can stand in one batch.
    pub fn read_as(&self, other: &Self) -> bool {
        let shape =
            |texts: &Self| (texts.positive.states.size(), texts.negative.as_ref().map(|text| text.states.size()));
        shape(self) == shape(other)
    }
}

impl Flux {
    fn clip(&self) -> Result<&Part> {
        self.parts.needed("text_encoder", "CLIPTextModel")
    }

    fn t5(&self) -> Result<&Part> {
        self.parts.needed("text_encoder_2", "T5EncoderModel")
    }

    pub(super) fn lease_clip(&self, adapters: &AdapterSet, pool: &Pool) -> Result<Lease<ClipText>> {
        pool.lease(&adapters.patched(self.clip()?), self.kind)
    }

    pub(super) fn lease_t5(&self, adapters: &AdapterSet, pool: &Pool) -> Result<Lease<T5Encoder>> {
        pool.lease(&adapters.patched(self.t5()?), self.t5_kind)
    }

    /// Encodes the prompts; the encoders are needed no longer after that.
    pub(super) fn encode_prompts(
        &self,
        request: &Request,
        adapters: &AdapterSet,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Texts> {
        let negative = request.negative_prompt.as_deref();
        let mut prompts = vec![(PROMPT, request.prompt.as_str())];
        if Self::guides(request) {
            prompts.extend(negative.map(|text| ("negative prompt", text)));
        } else if negative.is_some_and(|text| !text.is_empty()) {
            observer.warn("the negative prompt has no effect: FLUX computes it where true_cfg_scale is above 1");
        }
        // One encoder after the other, so that a device need not hold both.
        let pooled = self.pool_texts(&prompts, adapters, pool, observer)?;
        let states = self.read_texts(&prompts, self.tokens(request)?, (adapters, pool), observer)?;
        let mut texts = states.into_iter().zip(pooled).map(|(states, pooled)| Text { states, pooled });
        let positive = texts.next().ok_or_else(|| Error::internal("a prompt was not encoded"))?;
        Ok(Texts { positive, negative: texts.next() })
    }

    /// CLIP's pooled state of each prompt.
    fn pool_texts(
        &self,
        prompts: &[(&str, &str)],
        adapters: &AdapterSet,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Tensor>> {
        let part = adapters.patched(self.clip()?).key();
        let built = OnceCell::new();
        let mut pooled = Vec::new();
        for (which, prompt) in prompts {
            let tokens = self.clip_tokenizer.encode(prompt)?;
            let ids = ids(&tokens, (which, "input_ids_1"), observer)?;
            let wanted = "pooled".to_owned();
            let key = TextKey { encoder: part, kind: self.kind, wanted, ids: tokens.ids };
            let known = self.texts.get(key, || {
                let clip = once(&built, || self.lease_clip(adapters, pool))?;
                let states = clip.pool(&ids.f_to(self.device)?)?;
                Ok(Known { states, pooled: None, warnings: clip.warnings().to_vec() })
            })?;
            if *which == PROMPT {
                known.warnings.iter().for_each(|warning| observer.warn(warning));
            }
            let state = known.states;
            observer.dump(dump_name(which, ["pooled", "negative_pooled"]), &state);
            pooled.push(state);
        }
        Ok(pooled)
    }

    /// T5's states of each prompt.
    fn read_texts(
        &self,
        prompts: &[(&str, &str)],
        tokens: u32,
        (adapters, pool): (&AdapterSet, &Pool),
        observer: &mut dyn Observer,
    ) -> Result<Vec<Tensor>> {
        let part = adapters.patched(self.t5()?).key();
        let built = OnceCell::new();
        let length = usize::try_from(tokens).map_err(Error::internal)?;
        let mut states = Vec::new();
        for (which, prompt) in prompts {
            let encoded = self.t5_tokenizer.encode(prompt, length)?;
            // What CLIP cut off is of little matter: it gives one state for the whole. What T5 does not read is lost.
            if let Some(text) = &encoded.truncated {
                observer
                    .warn(&format!("the {which} is cut off, the model reads {tokens} tokens: \"{text}\" is left out"));
            }
            let ids = ids(&encoded, (which, "input_ids_2"), observer)?;
            let wanted = format!("states in {:?}", self.kind);
            let key = TextKey { encoder: part, kind: self.t5_kind, wanted, ids: encoded.ids };
            let known = self.texts.get(key, || {
                let t5 = once(&built, || self.lease_t5(adapters, pool))?;
                let states = t5.forward(&ids.f_to(self.device)?)?.f_totype(self.kind)?;
                Ok(Known { states, pooled: None, warnings: t5.warnings().to_vec() })
            })?;
            if *which == PROMPT {
                known.warnings.iter().for_each(|warning| observer.warn(warning));
            }
            let state = known.states;
            observer.dump(dump_name(which, ["prompt_embeds", "negative_prompt_embeds"]), &state);
            states.push(state);
        }
        Ok(states)
    }

    /// Computes all that prompts decide, for so many pictures of each; `request` says what is the same for all.
    pub(super) fn condition(
        &self,
        request: &Request,
        transformer: &FluxTransformer,
        texts: &[(&Texts, usize)],
        (grid, times): ((i64, i64), &[f64]),
    ) -> Result<Conditionings> {
        let condition = |texts: &[(&Text, usize)]| {
            let guidance = self.transformer.guidance_embeds.then_some(request.guidance_scale);
            let repeats = texts.iter().map(|(text, pictures)| Ok((*text, i64::try_from(*pictures)?)));
            let repeats =
                repeats.collect::<Result<Vec<_>, _>>().map_err(|error: TryFromIntError| Error::internal(error))?;
            let states = repeats.iter().map(|(text, pictures)| Ok(text.states.f_repeat([*pictures, 1, 1])?));
            let states = Tensor::f_cat(&states.collect::<Result<Vec<_>>>()?, 0)?;
            let pooled = match repeats.as_slice() {
                // One row for all, which is less to compute.
                [(only, _)] => only.pooled.shallow_clone(),
                several => {
                    let rows = several.iter().map(|(text, pictures)| Ok(text.pooled.f_repeat([*pictures, 1])?));
                    Tensor::f_cat(&rows.collect::<Result<Vec<_>>>()?, 0)?
                }
            };
            transformer.condition(&Conditions { text: &states, pooled: &pooled, guidance, grid, times })
        };
        let positive: Vec<_> = texts.iter().map(|(texts, pictures)| (&texts.positive, *pictures)).collect();
        let negative = texts.iter().filter_map(|(texts, pictures)| Some((texts.negative.as_ref()?, *pictures)));
        let negative: Vec<_> = negative.collect();
        let negative = match request.options.true_cfg_scale {
            Some(scale) if !negative.is_empty() => Some((condition(&negative)?, scale)),
            _ => None,
        };
        Ok(Conditionings { positive: condition(&positive)?, negative })
    }
}

/// What the prompt is called, as against the negative one.
const PROMPT: &str = "prompt";

/// `(1, tokens)`.
fn ids(encoded: &Encoded, (which, name): (&str, &str), observer: &mut dyn Observer) -> Result<Tensor> {
    let ids = Tensor::f_from_slice(&encoded.ids)?.f_unsqueeze(0)?;
    if which == PROMPT {
        observer.dump(name, &ids);
    }
    Ok(ids)
}

fn dump_name(which: &str, [positive, negative]: [&'static str; 2]) -> &'static str {
    if which == PROMPT { positive } else { negative }
}
