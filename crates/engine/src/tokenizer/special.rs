//! Special tokens, the padding token and the length, from `tokenizer_config.json` and `special_tokens_map.json`. Files
//! only; nothing is tokenized here.

use serde_json::{Map, Value};
use tokenizers::{AddedToken, Tokenizer};

use super::{TokenizerSource, broken};
use crate::{Error, Result};

/// CLIP's context. Files that say nothing, or transformers' "very large integer", mean this.
const LENGTH: usize = 77;

/// Far beyond any text encoder; what is larger is transformers' way to say "not set".
const UNSET: f64 = 1e6;

/// `extra_ids` of T5 where nothing is said.
const EXTRA_IDS: usize = 100;

/// What the two files say.
#[derive(Debug)]
pub struct Settings {
    /// `bos_token`.
    pub begin: AddedToken,
    /// `eos_token`.
    pub end: AddedToken,
    /// `unk_token`.
    pub unknown: AddedToken,
    /// `pad_token`: `<|endoftext|>` for CLIP, `!` for the second tokenizer of SDXL.
    pub padding: AddedToken,
    /// `model_max_length`.
    pub length: usize,
    /// `added_tokens_decoder`, by id.
    added: Vec<AddedToken>,
}

impl Settings {
    /// Reads both files; a missing one says nothing.
    pub fn read(source: &TokenizerSource) -> Result<Self> {
        let config = object(source, "tokenizer_config.json")?;
        let map = object(source, "special_tokens_map.json")?;
        right_side(&config)?;
        let token = |key: &str, default: &str| -> Result<AddedToken> {
            // The map is the older place; transformers lets the config win where both speak.
            let value = [&config, &map].into_iter().filter_map(|file| file.get(key)).find(|value| !value.is_null());
            value.map_or_else(|| Ok(AddedToken::from(default, true)), |value| added(key, value))
        };
        Ok(Self {
            begin: token("bos_token", "<|startoftext|>")?,
            end: token("eos_token", "<|endoftext|>")?,
            unknown: token("unk_token", "<|endoftext|>")?,
            padding: token("pad_token", "<|endoftext|>")?,
            length: length(&config)?,
            added: decoder(&config)?,
        })
    }

    /// Teaches a tokenizer the special tokens it does not know yet. transformers matches all of them in the text of a
    /// prompt, the padding `!` too: `dog!!` is two paddings for the second tokenizer of SDXL.
    pub fn add_to(&self, tokenizer: &mut Tokenizer) -> Result<()> {
        for token in self.added.iter().chain([&self.unknown, &self.begin, &self.end, &self.padding]) {
            let known = tokenizer.get_added_tokens_decoder().values().any(|known| known.content == token.content);
            if known {
                continue;
            }
            if tokenizer.token_to_id(&token.content).is_none() {
                return Err(Error::broken(format!("the vocabulary has no {}", token.content)));
            }
            tokenizer.add_special_tokens([token.clone()]).map_err(|error| broken(&token.content, &error))?;
        }
        Ok(())
    }

    /// The id that fills a prompt up.
    pub fn pad_id(&self, tokenizer: &Tokenizer) -> Result<i64> {
        let pad = &self.padding.content;
        tokenizer
            .token_to_id(pad)
            .map(i64::from)
            .ok_or_else(|| Error::broken(format!("the vocabulary has no pad_token {pad}")))
    }
}

/// What the files say about a T5 tokenizer; its tokens are always matched as plain special ones.
#[derive(Debug)]
pub struct T5Settings {
    /// `eos_token`.
    pub end: String,
    /// `unk_token`.
    pub unknown: String,
    /// `pad_token`.
    pub padding: String,
    /// `extra_ids`: marks for gaps, which a file of pieces does not list.
    pub extra_ids: usize,
}

/// Reads both files of a T5 tokenizer; a missing one says nothing.
pub fn t5(source: &TokenizerSource) -> Result<T5Settings> {
    let config = object(source, "tokenizer_config.json")?;
    let map = object(source, "special_tokens_map.json")?;
    right_side(&config)?;
    let token = |key: &str, default: &str| -> Result<String> {
        let value = [&config, &map].into_iter().filter_map(|file| file.get(key)).find(|value| !value.is_null());
        value.map_or_else(|| Ok(default.to_owned()), |value| Ok(added(key, value)?.content))
    };
    let extra_ids = match config.get("extra_ids") {
        None | Some(Value::Null) => EXTRA_IDS,
        Some(value) => {
            value.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|n| *n <= 10_000).ok_or_else(|| {
                Error::broken(format!("tokenizer_config.json: extra_ids is {value}, not a number up to 10000"))
            })?
        }
    };
    Ok(T5Settings {
        end: token("eos_token", "</s>")?,
        unknown: token("unk_token", "<unk>")?,
        padding: token("pad_token", "<pad>")?,
        extra_ids,
    })
}

fn right_side(config: &Map<String, Value>) -> Result<()> {
    for side in ["padding_side", "truncation_side"] {
        if let Some(other) = config.get(side).filter(|value| *value != "right") {
            return Err(Error::broken(format!(
                "tokenizer_config.json: {side} is {other}; only \"right\" is supported"
            )));
        }
    }
    Ok(())
}

fn object(source: &TokenizerSource, name: &str) -> Result<Map<String, Value>> {
    match source.file(name)? {
        None => Ok(Map::new()),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::broken(format!("{name}: {error}"))),
    }
}

/// A token as text or as an object.
fn added(key: &str, value: &Value) -> Result<AddedToken> {
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let content = value.as_str().or_else(|| value.get("content").and_then(Value::as_str));
    let Some(content) = content.filter(|content| !content.is_empty()) else {
        return Err(Error::broken(format!(
            "tokenizer_config.json: {key} is {value}, neither a text nor an object with `content`"
        )));
    };
    Ok(AddedToken::from(content, true)
        .normalized(flag("normalized").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .single_word(flag("single_word").unwrap_or(false)))
}

fn decoder(config: &Map<String, Value>) -> Result<Vec<AddedToken>> {
    let Some(Value::Object(decoder)) = config.get("added_tokens_decoder") else {
        return Ok(Vec::new());
    };
    let mut tokens = Vec::new();
    for (id, value) in decoder {
        let order: u32 = id
            .parse()
            .map_err(|_| Error::broken(format!("tokenizer_config.json: added_tokens_decoder: {id} is not an id")))?;
        tokens.push((order, added("added_tokens_decoder", value)?));
    }
    tokens.sort_by_key(|(order, _)| *order);
    Ok(tokens.into_iter().map(|(_, token)| token).collect())
}

fn length(config: &Map<String, Value>) -> Result<usize> {
    match config.get("model_max_length") {
        None | Some(Value::Null) => Ok(LENGTH),
        Some(value) => match (value.as_u64(), value.as_f64()) {
            (_, Some(large)) if large > UNSET => Ok(LENGTH),
            (Some(length), _) if length >= 3 => usize::try_from(length).map_err(Error::broken),
            _ => Err(Error::broken(format!(
                "tokenizer_config.json: model_max_length is {value}, not a number of tokens from 3"
            ))),
        },
    }
}
