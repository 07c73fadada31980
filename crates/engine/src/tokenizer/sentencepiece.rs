//! The tokenizer that a `spiece.model` describes: a protobuf message of `SentencePiece` (Kudo and Richardson 2018), read
//! for its pieces and its table of characters. Only unigram models, which T5's are.

use prost::Message;
use tokenizers::decoders::metaspace::Metaspace;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::broken;
use super::special::T5Settings;
use crate::{Error, Result};

/// What stands for a space.
const SPACE: char = '▁';

/// `TrainerSpec.ModelType.UNIGRAM`.
const UNIGRAM: i32 = 1;

/// `ModelProto` of `sentencepiece_model.proto`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
}

/// The tokenizer of a file, put together as transformers' `T5Tokenizer` does it.
pub(super) fn tokenizer(bytes: &[u8], settings: &T5Settings) -> Result<Tokenizer> {
    let model =
        ModelProto::decode(bytes).map_err(|error| Error::broken(format!("not a SentencePiece model: {error}")))?;
    let charsmap =
        model.normalizer.and_then(|normalizer| normalizer.precompiled_charsmap).filter(|map| !map.is_empty());
    if let Some(kind) = model.trainer.and_then(|trainer| trainer.model_type).filter(|kind| *kind != UNIGRAM) {
        return Err(Error::broken(format!("its model_type is {kind}; only a unigram model (1) is supported"))
            .with_hint("save the tokenizer with transformers, which writes a tokenizer.json"));
    }
    let mut pieces: Vec<(String, f64)> = model
        .pieces
        .into_iter()
        .map(|piece| (piece.piece.unwrap_or_default(), f64::from(piece.score.unwrap_or_default())))
        .collect();
    // T5's hundred marks for gaps are not in the file; they follow its pieces, the last one first.
    pieces.extend((0..settings.extra_ids).rev().map(|i| (extra_id(i), 0.0)));
    let unknown = pieces.iter().position(|(piece, _)| *piece == settings.unknown);
    let unknown = unknown.ok_or_else(|| Error::broken(format!("it has no {}", settings.unknown)))?;
    let model = Unigram::from(pieces, Some(unknown), false).map_err(|error| broken("pieces", &error))?;
    let mut tokenizer = Tokenizer::new(model);
    if let Some(map) = &charsmap {
        let normalizer =
            Precompiled::from(map).map_err(|error| Error::broken(format!("its table of characters: {error}")))?;
        tokenizer.with_normalizer(Some(normalizer)).map_err(|error| broken("normalizer", &error))?;
    }
    let words: Vec<PreTokenizerWrapper> =
        vec![WhitespaceSplit.into(), Metaspace::new(SPACE, PrependScheme::Always, true).into()];
    tokenizer.with_pre_tokenizer(Some(Sequence::new(words)));
    let special =
        [&settings.padding, &settings.end, &settings.unknown].map(|token| AddedToken::from(token.clone(), true));
    let gaps = (0..settings.extra_ids).map(|i| AddedToken::from(extra_id(i), true));
    tokenizer.add_special_tokens(special.into_iter().chain(gaps)).map_err(|error| broken("special tokens", &error))?;
    let end =
        tokenizer.token_to_id(&settings.end).ok_or_else(|| Error::broken(format!("it has no {}", settings.end)))?;
    let template = TemplateProcessing::builder()
        .try_single(format!("$A {}", settings.end))
        .map_err(|error| Error::broken(format!("eos_token: {error}")))?
        .special_tokens(vec![(settings.end.clone(), end)])
        .build()
        .map_err(|error| Error::broken(format!("eos_token: {error}")))?;
    tokenizer.with_post_processor(Some(template));
    Ok(tokenizer)
}

fn extra_id(number: usize) -> String {
    format!("<extra_id_{number}>")
}
