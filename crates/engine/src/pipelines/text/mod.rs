//! From prompts to what a network is conditioned on: tokenizer, text encoder, and what is asked of both.

use tch::{Device, Tensor};

use super::{Observer, Request};
use crate::config::ClipConfig;
use crate::models::ClipText;
use crate::models::clip::{LayerChoice, TextState};
use crate::pool::Lease;
use crate::tokenizer::ClipTokenizer;
use crate::{Error, Result};

/// A CLIP text encoder of a model: its name among the parts, the tokenizer before it, and its shape.
#[derive(Debug)]
pub(super) struct Encoder {
    pub name: &'static str,
    pub tokenizer: ClipTokenizer,
    pub config: ClipConfig,
}

/// A tokenizer and the encoder behind it, ready to be used.
#[derive(Debug)]
pub(super) struct TextEncoder<'a> {
    pub tokenizer: &'a ClipTokenizer,
    pub model: Lease<ClipText>,
    pub device: Device,
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

/// Refuses what asks more of the text than the encoders here do.
pub(super) fn check_options(request: &Request) -> Result<()> {
    let options = &request.options;
    let asked = [
        ("options.long_prompts", options.long_prompts),
        ("options.prompt_weights", options.prompt_weights),
        ("options.strict_loras", options.strict_loras),
        ("loras", !request.loras.is_empty()),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(Error::invalid(format!("{field} is given, which the pipeline does not do"))),
        None => Ok(()),
    }
}

impl TextEncoder<'_> {
    /// Encodes a prompt; `number` is the encoder's, from 1. What does not fit is cut off and handed back.
    pub(super) fn encode(
        &self,
        prompt: &str,
        layer: LayerChoice,
        (which, number): (Which, u32),
        observer: &mut dyn Observer,
    ) -> Result<(TextState, Option<String>)> {
        let encoded = self.tokenizer.encode(prompt)?;
        let ids = Tensor::f_from_slice(&encoded.ids)?.f_unsqueeze(0)?;
        if which == Which::Prompt {
            observer.dump(&format!("input_ids_{number}"), &ids);
        }
        Ok((self.model.forward(&ids.f_to(self.device)?, layer)?, encoded.truncated))
    }
}

/// Encodes a prompt with all encoders of a model: their states side by side, and the first pooled text there is.
pub(super) fn encode(
    encoders: &[TextEncoder<'_>],
    prompt: &str,
    layer: LayerChoice,
    which: Which,
    observer: &mut dyn Observer,
) -> Result<Encoded> {
    let mut states = Vec::new();
    let mut pooled = None;
    let mut cut = Vec::new();
    for (number, encoder) in (1..).zip(encoders) {
        let (state, left_out) = encoder.encode(prompt, layer, (which, number), observer)?;
        if let Some(text) = left_out
            && !cut.contains(&text)
        {
            let which = match which {
                Which::Prompt => "prompt",
                Which::Negative => "negative prompt",
            };
            let most = encoder.tokenizer.length();
            observer.warn(&format!("the {which} is cut off, the model reads {most} tokens: \"{text}\" is left out"));
            cut.push(text);
        }
        states.push(state.states);
        pooled = pooled.or(state.pooled);
    }
    Ok(Encoded { states: Tensor::f_cat(&states, -1)?, pooled })
}
