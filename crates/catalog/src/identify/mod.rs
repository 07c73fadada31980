//! What a model file or folder is: told from names and shapes of its tensors, never from its own name, and with the reasons.
//! What fits no signature is unknown, with the families that come nearest; nothing is taken for something by default.
//!
//! The signatures are the tables in `signatures`; they are facts of public models, compared in
//! `docs/MODELS.md`. Order: ControlNets (which hold half a UNet), networks, adapters, embeddings, upscalers, parts.

mod adapter;
mod control;
mod denoiser;
mod encoder;
mod file;
mod folder;
mod lora;
mod names;
mod signatures;
mod unet;
mod words;

use std::path::Path;

use crate::{Result, TensorFile};

pub use words::{Confidence, Family, Kind, Naming, Prediction, Variant};

/// What a file or folder is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What kind of model.
    pub kind: Kind,
    /// The family, where it is the only one possible.
    pub family: Option<Family>,
    /// The families possible where several are (a VAE of SD 1 has the shape of SDXL's), or, of an unknown file, those
    /// that come nearest, nearest first. Empty where `family` is known.
    pub candidates: Vec<Family>,
    /// Which of the family's models, or how an adapter is made: `dev`, `schnell`, `ssd-1b`, `lokr`.
    pub edition: Option<String>,
    /// What it takes for input.
    pub variant: Variant,
    /// What the network predicts; `None` where nothing tells.
    pub prediction: Option<Prediction>,
    /// Whether it was trained down to a signal of zero.
    pub zero_terminal_snr: bool,
    /// Whose names its tensors have.
    pub naming: Option<Naming>,
    /// How its weights are packed, where they are not plain numbers: `fp8`, `nf4`.
    pub quantization: Option<String>,
    /// The components that are in it, by diffusers' names.
    pub parts: Vec<Part>,
    /// The components that its family needs and that are not in it.
    pub missing: Vec<String>,
    /// How sure this is.
    pub confidence: Confidence,
    /// What was seen, in sentences.
    pub why: Vec<String>,
}

/// A component found in a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name in diffusers: `unet`, `vae`, `text_encoder_2`.
    pub name: String,
    /// What its tensors' names begin with in the file; of a folder, the folder.
    pub prefix: String,
    /// Whose names it has.
    pub naming: Naming,
}

/// Tells what the file or folder at `path` is. An error when it cannot be read, or a folder holds no model.
pub fn identify(path: &Path) -> Result<Identity> {
    if path.is_dir() { folder::identify(path) } else { Ok(identify_file(&TensorFile::open(path)?)) }
}

/// Tells what an opened file is.
pub fn identify_file(file: &TensorFile) -> Identity {
    file::identify(&[file])
}

impl Identity {
    /// Nothing known yet.
    fn unknown() -> Self {
        Self {
            kind: Kind::Unknown,
            family: None,
            candidates: Vec::new(),
            edition: None,
            variant: Variant::Normal,
            prediction: None,
            zero_terminal_snr: false,
            naming: None,
            quantization: None,
            parts: Vec::new(),
            missing: Vec::new(),
            confidence: Confidence::None,
            why: Vec::new(),
        }
    }

    /// Of these families: known when there is one.
    fn of(mut self, families: &[Family]) -> Self {
        match families {
            [only] => self.family = Some(*only),
            several => self.candidates = several.to_vec(),
        }
        self
    }
}
