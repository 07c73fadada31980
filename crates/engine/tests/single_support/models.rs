//! The fixtures' models, in their folders and as single files, and the picture that each makes.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use easel_engine::config::UNetConfig;
use easel_engine::parts::ModelParts;
use easel_engine::pipelines::{Flux, Observer, Picture, Pipeline, Request, Sd, Sdxl};
use easel_engine::pool::Pool;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};
use tch::Device;

use crate::single_support::{Tensors, inverse, open, read};

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines").join(name).join("model")
}

pub fn refused(source: &ModelSource) -> easel_engine::Error {
    ModelParts::open(source).map(|_| ()).unwrap_err()
}

/// A folder's networks in SGM's names, as one file.
pub fn sgm(model: &Path) -> Tensors {
    let parts = open(&ModelSource::whole(model, PipelineKind::Sdxl));
    let config = UNetConfig::read("unet", &parts.part("unet").unwrap().config).unwrap();
    let mut tensors = inverse::sgm_unet(&config, &read(&model.join("unet")), "model.diffusion_model.");
    tensors.extend(inverse::sgm_vae(&read(&model.join("vae")), "first_stage_model."));
    tensors.extend(inverse::clip(&read(&model.join("text_encoder")), "conditioner.embedders.0.transformer."));
    tensors.extend(inverse::openclip(&read(&model.join("text_encoder_2")), "conditioner.embedders.1.model."));
    tensors
}

pub fn on_base(path: PathBuf, base: PathBuf) -> ModelSource {
    ModelSource { base: Some(base), ..ModelSource::whole(path, PipelineKind::Sdxl) }
}

struct Quiet;

impl Observer for Quiet {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

pub fn picture(source: &ModelSource) -> Picture {
    tch::set_num_threads(1);
    let (parts, device) = (open(source), Device::Cpu);
    let pipeline: Box<dyn Pipeline> = match source.pipeline {
        PipelineKind::Sdxl => Box::new(Sdxl::open(parts, device, Dtype::Fp32).unwrap()),
        PipelineKind::Sd => Box::new(Sd::open(parts, device, Dtype::Fp32).unwrap()),
        PipelineKind::Flux => Box::new(Flux::open(parts, device, Dtype::Fp32).unwrap()),
    };
    let request = Request {
        prompt: "a painting of a red squirrel".to_owned(),
        negative_prompt: Some("blurry dog".to_owned()),
        seeds: vec![7],
        steps: 2,
        guidance_scale: 3.0,
        width: 64,
        height: 64,
        ..Request::default()
    };
    pipeline.generate(&request, &Pool::new(device), &mut Quiet).unwrap().remove(0)
}
