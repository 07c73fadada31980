//! From a model's name to something that makes pictures: the seam between the worker and the pipelines.

use std::sync::Arc;

use easel_catalog::DiffusersFolder;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};

use crate::Result;
use crate::pipelines::{Observer, Picture, Sdxl, TextToImage};

/// An open model, bound to one device and so to one thread.
pub trait Model {
    /// Makes one picture for each seed.
    fn generate(&self, request: &TextToImage, observer: &mut dyn Observer) -> Result<Vec<Picture>>;
}

/// Opens a model on a device; called on the thread that owns the device.
pub type Open = Arc<dyn Fn(&ModelSource, tch::Device, Dtype) -> Result<Box<dyn Model>> + Send + Sync>;

/// Opens the pipelines that the engine has.
pub fn open_model(source: &ModelSource, device: tch::Device, dtype: Dtype) -> Result<Box<dyn Model>> {
    let folder = DiffusersFolder::open(&source.path)?;
    match source.pipeline {
        PipelineKind::Sdxl => Ok(Box::new(Sdxl::open(&folder, device, dtype)?)),
    }
}

impl Model for Sdxl {
    fn generate(&self, request: &TextToImage, observer: &mut dyn Observer) -> Result<Vec<Picture>> {
        Self::generate(self, request, observer)
    }
}
