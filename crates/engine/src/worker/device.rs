//! The names of devices: `cpu`, `cuda:N`.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A device that libtorch can compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// The NVIDIA GPU of this index.
    Cuda(u8),
}

impl DeviceName {
    /// The devices of this machine: GPUs first, the processor always.
    pub fn all() -> Vec<Self> {
        let gpus = u8::try_from(tch::Cuda::device_count()).unwrap_or(0);
        (0..gpus).map(Self::Cuda).chain([Self::Cpu]).collect()
    }

    /// As libtorch calls it.
    pub fn torch(self) -> tch::Device {
        match self {
            Self::Cpu => tch::Device::Cpu,
            Self::Cuda(index) => tch::Device::Cuda(usize::from(index)),
        }
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let index = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
        };
        index.map(Self::Cuda).ok_or_else(|| Error::invalid(format!("device `{text}` is neither `cpu` nor `cuda:N`")))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
