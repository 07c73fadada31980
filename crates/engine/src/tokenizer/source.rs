//! Where a tokenizer's files are: in a folder, or among those that ship with the engine for models that come as one file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// CLIP's merges, from which its vocabulary follows: `OpenAI`, MIT (`assets/tokenizers/clip/LICENSE`).
const CLIP_MERGES: &str = include_str!("../../assets/tokenizers/clip/merges.txt");
/// The mark that begins a text is found in any case, as the published models' settings say.
const CLIP_CONFIG: &str = r#"{"bos_token": {"content": "<|startoftext|>", "normalized": true}}"#;
const OPENCLIP_CONFIG: &str = r#"{"bos_token": {"content": "<|startoftext|>", "normalized": true}, "pad_token": "!"}"#;
/// T5's pieces: Google, Apache-2.0 (`assets/tokenizers/t5/LICENSE`).
const T5_PIECES: &[u8] = include_bytes!("../../assets/tokenizers/t5/spiece.model");

/// Far more than any file of a tokenizer takes.
const LARGEST: u64 = 64 << 20;

/// Where a tokenizer's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// In a folder of a diffusers pipeline.
    Folder(PathBuf),
    /// In the engine.
    Shipped(Shipped),
}

/// A tokenizer that ships with the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shipped {
    /// CLIP's, which fills prompts up with the mark that ends a text.
    Clip,
    /// CLIP's as OpenCLIP uses it: filled up with `!`.
    OpenClip,
    /// T5's.
    T5,
}

impl Shipped {
    /// Rows of the token tables that it fits. T5's is padded to the next multiple of 128.
    pub fn vocabularies(self) -> &'static [u64] {
        match self {
            Self::Clip | Self::OpenClip => &[49_408],
            Self::T5 => &[32_100, 32_128],
        }
    }

    fn file(self, name: &str) -> Option<&'static [u8]> {
        match (self, name) {
            (Self::Clip | Self::OpenClip, "merges.txt") => Some(CLIP_MERGES.as_bytes()),
            (Self::Clip, "tokenizer_config.json") => Some(CLIP_CONFIG.as_bytes()),
            (Self::OpenClip, "tokenizer_config.json") => Some(OPENCLIP_CONFIG.as_bytes()),
            (Self::T5, "spiece.model") => Some(T5_PIECES),
            _ => None,
        }
    }
}

impl From<&Path> for TokenizerSource {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl From<&PathBuf> for TokenizerSource {
    fn from(folder: &PathBuf) -> Self {
        Self::Folder(folder.clone())
    }
}

impl From<&TokenizerSource> for TokenizerSource {
    fn from(source: &TokenizerSource) -> Self {
        source.clone()
    }
}

impl TokenizerSource {
    /// A file's bytes, if the file is there.
    pub(super) fn file(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        let folder = match self {
            Self::Shipped(shipped) => return Ok(shipped.file(name).map(Cow::Borrowed)),
            Self::Folder(folder) => folder,
        };
        let path = folder.join(name);
        let failed = |error: std::io::Error| Error::broken(format!("{name}: {error}"));
        if !path.is_file() {
            return Ok(None);
        }
        let length = path.metadata().map_err(failed)?.len();
        if length > LARGEST {
            return Err(Error::broken(format!("{name}: it has {length} bytes, more than {LARGEST}")));
        }
        std::fs::read(path).map(|bytes| Some(Cow::Owned(bytes))).map_err(failed)
    }

    /// What errors call it.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.file_name().unwrap_or(folder.as_os_str()).display().to_string(),
            Self::Shipped(shipped) => format!("the {shipped:?} tokenizer that ships with the engine"),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Shipped(_) => self.place(),
        }
    }
}
