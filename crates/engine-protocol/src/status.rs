//! What the engine says of itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Dtype;

/// The engine's answer to `GET /v1/status`: it is ready to take jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`crate::PROTOCOL`] of the engine.
    pub protocol: u32,
    /// Version of the engine's package.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Devices it can compute on; the first is the default.
    pub devices: Vec<DeviceStatus>,
    /// Models that are open now.
    pub models: Vec<LoadedModel>,
    /// Jobs waiting for a device.
    pub queued: u32,
    /// Jobs running.
    pub running: u32,
}

/// A device that the engine can compute on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// `cpu` or `cuda:N`.
    pub name: String,
    /// How its memory is used, as of the last phase of a job.
    #[serde(default)]
    pub memory: MemoryStatus,
    /// The components that are known to it.
    #[serde(default)]
    pub components: Vec<ComponentStatus>,
}

/// How a device's memory is used, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStatus {
    /// What may be used at most; absent where nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Spoken for: components and what computing takes.
    pub used: u64,
    /// Of that, components that a job uses now.
    pub leased: u64,
    /// Of `used`, what computing takes.
    pub working: u64,
    /// Weights that are views of their files; the system takes these pages back when it needs to, and they are not in `used`.
    pub mapped: u64,
    /// The most that was ever in `used`.
    pub peak: u64,
}

/// A network, counted once however many models share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// What the model that brought it calls it: `unet`, `text_encoder_2`.
    pub name: String,
    /// Its class in diffusers or transformers.
    pub class: String,
    /// Whether adapters have changed it.
    pub adapted: bool,
    /// What it computes in.
    pub dtype: Dtype,
    /// Where it is.
    pub state: ComponentState,
    /// Bytes of the device's own memory that it takes.
    pub bytes: u64,
    /// Bytes of it that are views of its files.
    pub mapped: u64,
    /// Open models that use it.
    pub shared_by: u32,
    /// Jobs that use it now.
    pub leases: u32,
    /// Milliseconds that loading took.
    pub load_ms: u64,
    /// Milliseconds since it was used, where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
}

/// Where a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// In its files only.
    OnDisk,
    /// On its way.
    Loading,
    /// Used where it lies in its files.
    Mapped,
    /// In the device's memory.
    OnDevice,
}

/// A model that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedModel {
    /// Its folder.
    pub path: PathBuf,
    /// Where it computes.
    pub device: String,
    /// In which number type.
    pub dtype: Dtype,
}

/// The body of `POST /v1/unload`: which models are closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unload {
    /// Those at this place; absent, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// The answer: what was closed, once no job ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unloaded {
    /// How many models it were.
    pub models: u32,
}
