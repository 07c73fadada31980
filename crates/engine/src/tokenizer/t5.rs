//! Prompts to token ids, as transformers' `T5Tokenizer` does it: a unigram model over pieces of words. What does not
//! fit is cut off and handed back.

use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{PostProcessor, Tokenizer};

use super::{Encoded, TokenizerSource, broken, sentencepiece, special};
use crate::{Error, Result};

/// T5's tokenizer.
#[derive(Debug)]
pub struct T5Tokenizer {
    tokenizer: Tokenizer,
    pad: i64,
    /// Ids that end every prompt: one, `</s>`.
    added: usize,
}

impl T5Tokenizer {
    /// Opens a folder that has `tokenizer.json` or `spiece.model`; where it has both, the first, as transformers does. Or
    /// opens the one that ships with the engine.
    pub fn open(source: impl Into<TokenizerSource>) -> Result<Self> {
        let source = source.into();
        Self::open_inner(&source).map_err(|error| error.within(source.place()))
    }

    fn open_inner(source: &TokenizerSource) -> Result<Self> {
        let settings = special::t5(source)?;
        let mut tokenizer = if let Some(whole) = source.file("tokenizer.json")? {
            Tokenizer::from_bytes(whole).map_err(|error| broken("tokenizer.json", &error))?
        } else if let Some(pieces) = source.file("spiece.model")? {
            sentencepiece::tokenizer(&pieces, &settings).map_err(|error| error.within("spiece.model"))?
        } else {
            let message = format!("neither tokenizer.json nor spiece.model is in {}", source.path());
            return Err(Error::broken(message).with_hint("copy one of them from the model's own repository"));
        };
        // A file may carry the truncation and padding of whoever saved it last; ours are the pipeline's.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| broken("truncation", &error))?;
        let pad = &settings.padding;
        let pad = tokenizer
            .token_to_id(pad)
            .ok_or_else(|| Error::broken(format!("the vocabulary has no pad_token {pad}")))?;
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        Ok(Self { tokenizer, pad: i64::from(pad), added })
    }

    /// The ids of a prompt: exactly `length` of them.
    pub fn encode(&self, prompt: &str, length: usize) -> Result<Encoded> {
        let failed = |error: tokenizers::Error| Error::invalid(format!("the prompt cannot be tokenized: {error}"));
        let mut encoding = self.tokenizer.encode(prompt, false).map_err(failed)?;
        let room = length.saturating_sub(self.added);
        // Not where the first piece lies that did not fit, but where any of them begins: a piece may be of no place.
        let cut = encoding.get_offsets().get(room..).and_then(|rest| rest.iter().map(|(start, _)| *start).min());
        let truncated = cut.map(|start| prompt.get(start..).unwrap_or_default().trim().to_owned());
        encoding.truncate(room, 0, TruncationDirection::Right);
        let encoding = self.tokenizer.post_process(encoding, None, true).map_err(failed)?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().copied().map(i64::from).collect();
        ids.resize(length, self.pad);
        Ok(Encoded { ids, truncated })
    }
}
