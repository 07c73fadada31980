//! From prompts to what a network is conditioned on: tokenizer, text encoder, and what is asked of both. What was encoded
//! before needs no encoder.

mod cache;
mod plan;

use std::borrow::Cow;
use std::cell::OnceCell;

use tch::{Device, Kind, Tensor};

pub(super) use cache::{Known, TextCache, TextKey};
use plan::{Plan, Reading, Row};

use super::{Observer, Request};
use crate::Result;
use crate::config::ClipConfig;
use crate::models::ClipText;
use crate::models::clip::LayerChoice;
use crate::parts::Part;
use crate::pool::{Lease, Pool};
use crate::tokenizer::ClipTokenizer;

/// A CLIP text encoder of a model: its name among the parts, the tokenizer before it, and its shape.
#[derive(Debug)]
pub(super) struct Encoder {
    pub name: &'static str,
    pub tokenizer: ClipTokenizer,
    pub config: ClipConfig,
}

/// A tokenizer and the encoder behind it, which is built when it is needed.
#[derive(Debug)]
pub(super) struct TextEncoder<'a> {
    pub tokenizer: &'a ClipTokenizer,
    pub part: Cow<'a, Part>,
    pub kind: Kind,
    pub device: Device,
    pub pool: &'a Pool,
    pub known: &'a TextCache,
    pub model: OnceCell<Lease<ClipText>>,
}

/// The prompts of a request, encoded.
#[derive(Debug)]
pub(super) struct Texts {
    pub positive: Encoded,
    /// Where guidance is computed.
    pub negative: Option<Encoded>,
}

/// A prompt, encoded.
#[derive(Debug)]
pub(super) struct Encoded {
    /// `(1, tokens, widths of the encoders together)`.
    pub states: Tensor,
    /// `(1, projection_dim)`, where the model pools.
    pub pooled: Option<Tensor>,
}

/// Which prompt it is, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Prompt,
    Negative,
}

/// A prompt, and which layer of the encoders says what it means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt<'a> {
    pub text: &'a str,
    pub layer: LayerChoice,
    pub which: Which,
}

/// Encodes prompts with all encoders of a model: their states side by side, and the first pooled text there is. All are
/// as long as the longest.
pub(super) fn encode(
    encoders: &[TextEncoder<'_>],
    request: &Request,
    prompts: &[Prompt<'_>],
    observer: &mut dyn Observer,
) -> Result<Vec<Encoded>> {
    let reading = Reading::of(&request.options);
    let mut plans = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let plan = |encoder: &TextEncoder<'_>| reading.plan(prompt.text, encoder.tokenizer);
        plans.push(encoders.iter().map(plan).collect::<Result<Vec<_>>>()?);
    }
    let rows = plans.iter().flatten().map(|plan| plan.rows.len()).max().unwrap_or(1);
    for plans in &mut plans {
        plans.iter_mut().zip(encoders).try_for_each(|(plan, encoder)| plan.extend(rows, encoder.tokenizer))?;
    }
    let mut told = Vec::new();
    let encoded = prompts.iter().zip(&plans);
    encoded.map(|(prompt, plans)| encode_one(encoders, *prompt, plans, &mut told, observer)).collect()
}

fn encode_one(
    encoders: &[TextEncoder<'_>],
    prompt: Prompt<'_>,
    plans: &[Plan],
    told: &mut Vec<String>,
    observer: &mut dyn Observer,
) -> Result<Encoded> {
    let mut states = Vec::new();
    let mut pooled = None;
    let which = match prompt.which {
        Which::Prompt => "prompt",
        Which::Negative => "negative prompt",
    };
    for ((number, encoder), plan) in (1..).zip(encoders).zip(plans) {
        let mut warnings = Vec::new();
        if let Some(left_out) = &plan.left_out {
            let most = encoder.tokenizer.length();
            warnings.push(format!("the {which} is cut off, the model reads {most} tokens: {left_out} left out"));
        }
        let ids: Vec<&[i64]> = plan.rows.iter().map(|row| row.ids.as_slice()).collect();
        if prompt.which == Which::Prompt {
            let ids = Tensor::f_from_slice(&ids.concat())?.f_unsqueeze(0)?;
            observer.dump(&format!("input_ids_{number}"), &ids);
        }
        let mut lines = Vec::with_capacity(plan.rows.len());
        for (i, row) in plan.rows.iter().enumerate() {
            let known = encoder.encode(row, prompt.layer)?;
            warnings.extend(known.warnings);
            lines.push(known.states);
            // The pooled text is that of the first row.
            if i == 0 {
                pooled = pooled.or(known.pooled);
            }
        }
        states.push(Tensor::f_cat(&lines, 1)?);
        for warning in warnings {
            if !told.contains(&warning) {
                observer.warn(&warning);
                told.push(warning);
            }
        }
    }
    Ok(Encoded { states: Tensor::f_cat(&states, -1)?, pooled })
}

impl TextEncoder<'_> {
    /// The encoder itself.
    pub(super) fn model(&self) -> Result<&Lease<ClipText>> {
        once(&self.model, || self.pool.lease(&self.part, self.kind))
    }

    /// What the encoder says about one row, weighed.
    fn encode(&self, row: &Row, layer: LayerChoice) -> Result<Known> {
        let wanted = format!("{layer:?}");
        let key = TextKey { encoder: self.part.key(), kind: self.kind, wanted, ids: row.ids.clone() };
        let mut known = self.known.get(key, || {
            let model = self.model()?;
            let ids = Tensor::f_from_slice(&row.ids)?.f_unsqueeze(0)?;
            let state = model.forward(&ids.f_to(self.device)?, layer)?;
            Ok(Known { states: state.states, pooled: state.pooled, warnings: model.warnings().to_vec() })
        })?;
        if let Some(weights) = &row.weights {
            known.states = weigh(&known.states, weights)?;
        }
        Ok(known)
    }
}

/// The states of a row, `(1, tokens, width)`, each multiplied by its weight; then all by one number, so that their mean is
/// what it was. As `EmphasisOriginal` of AUTOMATIC1111's web UI (`modules/sd_emphasis.py`).
fn weigh(states: &Tensor, weights: &[f32]) -> Result<Tensor> {
    let kind = states.f_kind()?;
    let states = states.f_totype(Kind::Float)?;
    let weights = Tensor::f_from_slice(weights)?.f_to(states.device())?.f_view([1, -1, 1])?;
    let weighed = states.f_mul(&weights)?;
    let restore = states.f_mean(Kind::Float)?.f_div(&weighed.f_mean(Kind::Float)?)?;
    Ok(weighed.f_mul(&restore)?.f_totype(kind)?)
}

/// What a cell holds, made if it is empty.
pub(super) fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let new = make()?;
    Ok(cell.get_or_init(|| new))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::cell::OnceCell;
    use std::ops::ControlFlow;
    use std::path::Path;

    use easel_engine_protocol::{ModelSource, PipelineKind};
    use tch::{Device, Kind};

    use super::{Prompt, TextCache, TextEncoder, Which, encode};
    use crate::models::clip::LayerChoice;
    use crate::parts::ModelParts;
    use crate::pipelines::{Observer, Request};
    use crate::pool::Pool;
    use crate::tokenizer::ClipTokenizer;

    struct Silent;

    impl Observer for Silent {
        fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
    }

    #[test]
    fn known_texts_need_no_encoder() {
        let _no_grad = tch::no_grad_guard();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines/base/model");
        let parts = ModelParts::open(&ModelSource::whole(folder, PipelineKind::Sdxl)).unwrap();
        let tokenizer = ClipTokenizer::open(parts.tokenizer("tokenizer").unwrap()).unwrap();
        let (pool, known) = (Pool::new(Device::Cpu), TextCache::default());
        let states = |text: &str, layer: LayerChoice| {
            let one = TextEncoder {
                tokenizer: &tokenizer,
                part: Cow::Borrowed(parts.part("text_encoder").unwrap()),
                kind: Kind::Float,
                device: Device::Cpu,
                pool: &pool,
                known: &known,
                model: OnceCell::new(),
            };
            let encoders = [one];
            let prompts = [Prompt { text, layer, which: Which::Prompt }];
            let encoded = encode(&encoders, &Request::default(), &prompts, &mut Silent).unwrap().remove(0);
            (encoded.states, encoders[0].model.get().is_some())
        };
        let (first, built) = states("a red cat", LayerChoice::penultimate(0));
        assert!(built);
        let (again, built) = states("a red cat", LayerChoice::penultimate(0));
        assert!(!built, "the text is known");
        assert_eq!(first, again);
        assert!(states("a red dog", LayerChoice::penultimate(0)).1, "another text");
        assert!(states("a red cat", LayerChoice::penultimate(1)).1, "another layer");
    }
}
