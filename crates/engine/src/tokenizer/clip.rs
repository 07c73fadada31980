//! CLIP's byte-level BPE from the pair of files that every repository of 2023 has. The pre-tokeniser is that of
//! transformers' `CLIPTokenizer`, whose pattern CLIP's own code defined.

use std::path::Path;

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use super::broken;
use super::special::Settings;
use crate::{Error, Result};

/// Words, single digits, runs of everything else; and the two marks, which people do type.
const PATTERN: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// What ends a word in the vocabulary.
const END_OF_WORD: &str = "</w>";

/// The tokenizer of `vocab.json` and `merges.txt`.
pub fn from_vocab_and_merges(folder: &Path, settings: &Settings) -> Result<Tokenizer> {
    let [vocab, merges] = ["vocab.json", "merges.txt"].map(|name| folder.join(name));
    for path in [&vocab, &merges] {
        if !path.is_file() {
            return Err(Error::broken(format!(
                "neither tokenizer.json nor both of vocab.json and merges.txt are in {}",
                folder.display()
            )));
        }
    }
    let model = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
        .unk_token(settings.unknown.content.clone())
        .end_of_word_suffix(END_OF_WORD.to_owned())
        .build()
        .map_err(|error| broken("vocab.json and merges.txt", &error))?;
    let mut tokenizer = Tokenizer::new(model);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")
        .map_err(|error| broken("the normalizer", &error))?;
    tokenizer
        .with_normalizer(Some(Sequence::new(vec![NFC.into(), spaces.into(), Lowercase.into()])))
        .map_err(|error| broken("the normalizer", &error))?;
    let words = Split::new(SplitPattern::Regex(PATTERN.to_owned()), SplitDelimiterBehavior::Removed, true)
        .map_err(|error| broken("the pre-tokenizer", &error))?;
    let stages: Vec<PreTokenizerWrapper> = vec![words.into(), ByteLevel::new(false, true, true).into()];
    tokenizer.with_pre_tokenizer(Some(PreSequence::new(stages)));
    let id =
        |token: &str| tokenizer.token_to_id(token).ok_or_else(|| Error::broken(format!("vocab.json has no {token}")));
    let begin = (settings.begin.content.clone(), id(&settings.begin.content)?);
    let end = (settings.end.content.clone(), id(&settings.end.content)?);
    tokenizer.with_post_processor(Some(RobertaProcessing::new(end, begin).trim_offsets(false).add_prefix_space(false)));
    Ok(tokenizer)
}
