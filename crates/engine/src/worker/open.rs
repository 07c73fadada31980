//! From a model's name to something that makes pictures: the seam between the worker and the pipelines.

use std::sync::Arc;

use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};

use crate::Result;
use crate::parts::ModelParts;
use crate::pipelines::{Flux, Pipeline, Sd, Sdxl};

/// Opens a model for a device; called on the thread that owns the device.
pub type Open = Arc<dyn Fn(&ModelSource, tch::Device, Dtype) -> Result<Box<dyn Pipeline>> + Send + Sync>;

/// Opens the pipelines that the engine has.
pub fn open_model(source: &ModelSource, device: tch::Device, dtype: Dtype) -> Result<Box<dyn Pipeline>> {
    let parts = ModelParts::open(source)?;
    match source.pipeline {
        PipelineKind::Sdxl => Ok(Box::new(Sdxl::open(parts, device, dtype)?)),
        PipelineKind::Sd => Ok(Box::new(Sd::open(parts, device, dtype)?)),
        PipelineKind::Flux => Ok(Box::new(Flux::open(parts, device, dtype)?)),
    }
}
