//! Pictures in bf16 and fp16 are the pictures of fp32: so many decibels from them, for every family. `docs/parity.md` has
//! the numbers.

#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::ops::ControlFlow;
use std::path::Path;

use easel_engine::parts::ModelParts;
use easel_engine::pipelines::{Flux, Observer, Pipeline, Request, Sd, Sdxl};
use easel_engine::pool::Pool;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};
use tch::{Device, Kind, Tensor};

/// Remembers the pictures as numbers from 0 to 1.
#[derive(Default)]
struct Eye(Vec<Tensor>);

impl Observer for Eye {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn dump(&mut self, name: &str, tensor: &Tensor) {
        if name.ends_with("image") {
            self.0.push(tensor.to_kind(Kind::Double));
        }
    }
}

/// Two pictures of a model, one over the other.
fn pictures(source: &ModelSource, dtype: Dtype) -> Tensor {
    tch::set_num_threads(1);
    let (parts, device) = (ModelParts::open(source).unwrap(), Device::Cpu);
    let pipeline: Box<dyn Pipeline> = match source.pipeline {
        PipelineKind::Sdxl => Box::new(Sdxl::open(parts, device, dtype).unwrap()),
        PipelineKind::Sd => Box::new(Sd::open(parts, device, dtype).unwrap()),
        PipelineKind::Flux => Box::new(Flux::open(parts, device, dtype).unwrap()),
    };
    let request = Request {
        prompt: "a painting of a red squirrel, the cat & dog!".to_owned(),
        negative_prompt: (source.pipeline != PipelineKind::Flux).then(|| "blurry dog".to_owned()),
        seeds: vec![7, 8],
        steps: 6,
        guidance_scale: 4.0,
        width: 64,
        height: 64,
        ..Request::default()
    };
    let mut eye = Eye::default();
    let _ = pipeline.generate(&request, &Pool::new(device), &mut eye).unwrap();
    assert_eq!(eye.0.len(), 2);
    Tensor::cat(&eye.0, 0)
}

#[test]
fn halves_are_near() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut wrong = Vec::new();
    for (model, pipeline) in [
        ("pipelines/sd", PipelineKind::Sd),
        ("pipelines/sd-two", PipelineKind::Sd),
        ("pipelines/base", PipelineKind::Sdxl),
        ("pipelines/plain-vae", PipelineKind::Sdxl),
        ("flux/schnell", PipelineKind::Flux),
        ("flux/dev", PipelineKind::Flux),
    ] {
        let source = ModelSource::whole(fixtures.join(model).join("model"), pipeline);
        let whole = pictures(&source, Dtype::Fp32);
        for (dtype, least) in [(Dtype::Bf16, 40.0), (Dtype::Fp16, 58.0)] {
            let difference = pictures(&source, dtype) - &whole;
            let psnr = -10.0 * difference.square().mean(Kind::Double).double_value(&[]).log10();
            println!("report: {model} in {dtype:?}: {psnr:.1} dB from fp32");
            // Not `psnr < least`: what is not a number is wrong too. Nor is it fp32 that is compared.
            if !(psnr >= least && psnr < 120.0) {
                wrong.push(format!("{model} in {dtype:?}: {psnr:.1} dB of {least}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
