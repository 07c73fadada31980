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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// `cpu` or `cuda:N`.
    pub name: String,
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
