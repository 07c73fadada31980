//! The words that the gateway and the engine exchange: plain serde types, no I/O.
//!
//! The engine serves HTTP/1.1, by default on a Unix socket:
//!
//! | route | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | – | 200, [`Status`] |
//! | `POST /v1/unload` | [`Unload`] | 200, [`Unloaded`] |
//! | `POST /v1/generate` | [`GenerateJob`] | 200, `application/x-ndjson`: one [`Event`] a line; or 4xx/5xx with an [`EngineError`] before the first event |
//!
//! A stream ends with exactly one [`Event::Done`] or [`Event::Failed`]; a stream that ends otherwise was cut off.
//! A client that closes its connection cancels its job within one step.

mod adapter;
mod error;
mod event;
mod job;
mod schedulers;
mod source;
mod status;

pub use adapter::{AdapterReport, UnmatchedLayer};
pub use error::{EngineError, EngineErrorKind};
pub use event::{Event, Timings};
pub use job::{GenerateJob, InputImage, Lora, Options};
pub use schedulers::{nearest_schedulers, scheduler_keys, scheduler_names};
pub use source::{Dtype, ModelSource, PipelineKind};
pub use status::{ComponentState, ComponentStatus, DeviceStatus, LoadedModel, MemoryStatus, Status, Unload, Unloaded};

/// The version of this vocabulary. Gateway and engine refuse each other when it differs.
pub const PROTOCOL: u32 = 3;

/// A variable of the engine's environment and the value that it has unless somebody says otherwise. OpenMP's threads spin
/// for milliseconds at every barrier if nobody tells them, and starve each other on a machine that has other work.
pub const OPENMP_SPINS: (&str, &str) = ("GOMP_SPINCOUNT", "10000");
