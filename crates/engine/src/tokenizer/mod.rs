//! Prompts to token ids, as transformers' `CLIPTokenizer` and `T5Tokenizer` do it. It weighs no words and splits no long
//! prompts ([`crate::prompt`] does): what does not fit is cut off and handed back.

mod clip;
mod ranks;
mod sentencepiece;
mod source;
mod special;
mod t5;
mod words;

pub use source::{Shipped, TokenizerSource};
pub use t5::T5Tokenizer;

use crate::{Error, Result};
use special::Settings;
use words::Words;

/// CLIP's tokenizer.
#[derive(Debug)]
pub struct ClipTokenizer {
    vocabulary: Vocabulary,
    length: usize,
}

/// Where its words are.
#[derive(Debug)]
enum Vocabulary {
    Own(Box<Words>),
    Shipped(Shipped),
}

/// A prompt as the text encoder takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Exactly as many ids as the encoder takes: begin (CLIP only), words, end, padding.
    pub ids: Vec<i64>,
    /// The end of the prompt that did not fit, if any.
    pub truncated: Option<String>,
}

impl ClipTokenizer {
    /// Opens a folder that has `tokenizer.json`, or `vocab.json` and `merges.txt`; where it has both, the first, as
    /// transformers 5 does. Settings are read from `tokenizer_config.json` and `special_tokens_map.json`. Or opens one
    /// that ships with the engine, which is read when the first prompt needs it.
    pub fn open(source: impl Into<TokenizerSource>) -> Result<Self> {
        let source = source.into();
        Self::open_inner(&source).map_err(|error| error.within(source.place()))
    }

    fn open_inner(source: &TokenizerSource) -> Result<Self> {
        let settings = Settings::read(source)?;
        let vocabulary = match source {
            TokenizerSource::Shipped(shipped @ (Shipped::Clip | Shipped::OpenClip)) => Vocabulary::Shipped(*shipped),
            TokenizerSource::Shipped(Shipped::T5) | TokenizerSource::Folder(_) => {
                Vocabulary::Own(Box::new(Words::read(source, &settings)?))
            }
        };
        Ok(Self { vocabulary, length: settings.length })
    }

    fn vocabulary(&self) -> Result<&Words> {
        match &self.vocabulary {
            Vocabulary::Own(words) => Ok(words),
            Vocabulary::Shipped(shipped) => Words::shipped(*shipped),
        }
    }

    /// How many ids every prompt becomes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The ids of a prompt.
    pub fn encode(&self, prompt: &str) -> Result<Encoded> {
        let words = self.vocabulary()?;
        let encoding = words
            .tokenizer
            .encode(prompt, true)
            .map_err(|error| Error::invalid(format!("the prompt cannot be tokenized: {error}")))?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().copied().map(i64::from).collect();
        // Begin, as many words as fit, end.
        let kept = self.length.saturating_sub(1);
        let truncated = (ids.len() > self.length).then(|| {
            let offsets = encoding.get_offsets().iter().zip(encoding.get_special_tokens_mask()).skip(kept);
            let beyond = offsets.filter(|(_, special)| **special == 0);
            let start = beyond.map(|((start, _), _)| *start).min().unwrap_or(prompt.len());
            prompt.get(start..).unwrap_or_default().trim().to_owned()
        });
        if truncated.is_some() {
            ids.truncate(kept);
            ids.push(words.end);
        }
        ids.resize(self.length, words.pad);
        Ok(Encoded { ids, truncated })
    }

    /// All ids of the words of a text, without begin and end.
    pub fn words(&self, text: &str) -> Result<Vec<i64>> {
        let encoding = self
            .vocabulary()?
            .tokenizer
            .encode(text, false)
            .map_err(|error| Error::invalid(format!("the prompt cannot be tokenized: {error}")))?;
        Ok(encoding.get_ids().iter().copied().map(i64::from).collect())
    }

    /// How many words fit between begin and end.
    pub fn most_words(&self) -> usize {
        self.length.saturating_sub(2)
    }

    /// The id of a comma that ends a word.
    pub fn comma(&self) -> Result<Option<i64>> {
        Ok(self.vocabulary()?.tokenizer.token_to_id(",</w>").map(i64::from))
    }

    /// The ids of [`Self::length`] that these words become: begin, words, end, padding. Words that do not fit are cut off.
    pub fn framed(&self, words: &[i64]) -> Result<Vec<i64>> {
        let Words { begin, end, pad, .. } = self.vocabulary()?;
        let words = words.iter().take(self.most_words());
        let mut ids: Vec<i64> = std::iter::once(begin).chain(words).chain([end]).copied().collect();
        ids.resize(self.length, *pad);
        Ok(ids)
    }
}

fn broken(what: &str, error: &tokenizers::Error) -> Error {
    Error::broken(format!("{what}: {error}"))
}
