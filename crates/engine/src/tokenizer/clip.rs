//! CLIP's byte-level BPE from the pair of files that every repository of 2023 has. The pre-tokeniser is that of
//! transformers' `CLIPTokenizer`, whose pattern CLIP's own code defined.

use std::collections::BTreeMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use super::special::Settings;
use super::{TokenizerSource, broken, ranks};
use crate::{Error, Result};

/// Words, single digits, runs of everything else; and the two marks, which people do type.
const PATTERN: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The tokenizer of `vocab.json` and `merges.txt`.
pub fn from_vocab_and_merges(source: &TokenizerSource, settings: &Settings) -> Result<Tokenizer> {
    let missing = || {
        let place = source.path();
        Error::broken(format!("neither tokenizer.json nor both of vocab.json and merges.txt are in {place}"))
    };
    let merges = source.file("merges.txt")?.ok_or_else(missing)?;
    let merges = str::from_utf8(&merges).map_err(|error| Error::broken(format!("merges.txt: {error}")))?;
    let (mut vocabulary, merges) = ranks::read(merges)?;
    match (source, source.file("vocab.json")?) {
        (_, Some(written)) => {
            let written: BTreeMap<String, u32> =
                serde_json::from_slice(&written).map_err(|error| Error::broken(format!("vocab.json: {error}")))?;
            vocabulary = written.into_iter().collect();
        }
        // OpenAI's own merges give OpenAI's own vocabulary; another's need not.
        (TokenizerSource::Folder(_), None) => return Err(missing()),
        (TokenizerSource::Shipped(_), None) => {}
    }
    let model = BPE::builder()
        .vocab_and_merges::<Vocab>(vocabulary, merges)
        .unk_token(settings.unknown.content.clone())
        .end_of_word_suffix(ranks::END_OF_WORD.to_owned())
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
