//! A tokenizer of CLIP as it was read, and those that ship with the engine: these are read once, when the first prompt
//! needs them, and whichever models use them share them. They cannot be broken, so nobody has to learn of it earlier.

use std::sync::OnceLock;

use tokenizers::Tokenizer;

use super::special::Settings;
use super::{Shipped, TokenizerSource, broken, clip};
use crate::{Error, Result};

/// Everything that depends on the vocabulary.
#[derive(Debug)]
pub(super) struct Words {
    pub tokenizer: Tokenizer,
    pub begin: i64,
    pub end: i64,
    pub pad: i64,
}

impl Words {
    /// Reads the vocabulary and its merges.
    pub fn read(source: &TokenizerSource, settings: &Settings) -> Result<Self> {
        let mut tokenizer = match source.file("tokenizer.json")? {
            Some(whole) => Tokenizer::from_bytes(whole).map_err(|error| broken("tokenizer.json", &error))?,
            // It differs in what fills prompts up alone.
            None if *source == TokenizerSource::Shipped(Shipped::OpenClip) => {
                Self::shipped(Shipped::Clip)?.tokenizer.clone()
            }
            None => clip::from_vocab_and_merges(source, settings)?,
        };
        settings.add_to(&mut tokenizer)?;
        let id = |token: &str| {
            let id = tokenizer.token_to_id(token).map(i64::from);
            id.ok_or_else(|| Error::broken(format!("the vocabulary has no {token}")))
        };
        let (begin, end) = (id(&settings.begin.content)?, id(&settings.end.content)?);
        let pad = settings.pad_id(&tokenizer)?;
        // A file may carry the truncation and padding of whoever saved it last; ours are the pipeline's.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| broken("truncation", &error))?;
        Ok(Self { tokenizer, begin, end, pad })
    }

    /// One that ships.
    pub fn shipped(which: Shipped) -> Result<&'static Self> {
        static CLIP: OnceLock<Words> = OnceLock::new();
        static OPENCLIP: OnceLock<Words> = OnceLock::new();
        let known = match which {
            Shipped::Clip => &CLIP,
            Shipped::OpenClip => &OPENCLIP,
            Shipped::T5 => return Err(Error::broken("it is not one of CLIP's")),
        };
        if let Some(words) = known.get() {
            return Ok(words);
        }
        let source = TokenizerSource::Shipped(which);
        let words = Self::read(&source, &Settings::read(&source)?)?;
        Ok(known.get_or_init(|| words))
    }
}
