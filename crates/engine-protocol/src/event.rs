//! What the engine says while a job runs.

use serde::{Deserialize, Serialize};

use crate::{AdapterReport, EngineError};

/// One line of a job's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The job waits; `ahead` jobs come before it.
    Queued {
        /// Jobs that will run first.
        ahead: u32,
    },
    /// The model is being opened.
    Loading,
    /// The job works differently than asked in a way that the caller should know (a truncated prompt).
    Warning {
        /// A sentence for people.
        message: String,
    },
    /// How each adapter of the job meets the model, in the job's order: said before the first step, and again where the job
    /// is tried once more. Nothing is said of a job without adapters.
    Adapters {
        /// One for each.
        adapters: Vec<AdapterReport>,
    },
    /// `step` of `steps` denoising steps are done, for the image at `image` (0-based) of the job.
    Step {
        /// Which image of the job, from 0.
        image: u32,
        /// Steps done, from 1.
        step: u32,
        /// Steps in all.
        steps: u32,
    },
    /// A small picture of what is being made, after `step` steps.
    Preview {
        /// Which image of the job, from 0.
        image: u32,
        /// Steps done, from 1.
        step: u32,
        /// The PNG file, base64 (RFC 4648, padded).
        png_base64: String,
    },
    /// One whole picture.
    Image {
        /// Which image of the job, from 0.
        image: u32,
        /// The seed it was drawn from.
        seed: u64,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The PNG file, base64 (RFC 4648, padded).
        png_base64: String,
    },
    /// The job is done; nothing follows.
    Done {
        /// Where the time went.
        timings: Timings,
    },
    /// The job failed; nothing follows.
    Failed {
        /// Why.
        error: EngineError,
    },
}

/// Milliseconds spent on the parts of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Waiting for the device.
    pub queued_ms: u64,
    /// Opening the model (0 when it was resident).
    pub load_ms: u64,
    /// Tokenising and text encoders.
    pub encode_ms: u64,
    /// All denoising steps.
    pub denoise_ms: u64,
    /// VAE decoding and PNG.
    pub decode_ms: u64,
}
