//! The adapter fixtures: `cases.json`, the files that it names, and the models that they are put on. `tools/parity/loras.py`
//! writes them and says what each tensor is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use easel_catalog::TensorFile;
use easel_engine::adapters::AdapterSet;
use easel_engine::parts::{Form, ModelParts, Part, PartTensor};
use easel_engine::pipelines::{Flux, Pipeline, Request, Sd, Sdxl};
use easel_engine::weights::WeightMap;
use easel_engine_protocol::{Dtype, Lora, ModelSource, Options, PipelineKind};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

/// One stack of adapters and what comes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub family: String,
    pub loras: Vec<Lora>,
    /// By component and parameter: the sum of what was changed, and the sum of its squares.
    pub sums: BTreeMap<String, BTreeMap<String, [f64; 2]>>,
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All cases, with the paths of their files whole.
pub fn cases() -> Vec<Case> {
    tch::set_num_threads(1);
    let folder = fixtures().join("adapters");
    let mut cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    for lora in cases.iter_mut().flat_map(|case| &mut case.loras) {
        lora.path = folder.join("files").join(&lora.path);
    }
    cases
}

/// The model of a family.
pub fn source(family: &str) -> ModelSource {
    let folder = fixtures();
    match family {
        "sdxl" => ModelSource::whole(folder.join("pipelines/base/model"), PipelineKind::Sdxl),
        "sd" => ModelSource::whole(folder.join("adapters/sd/model"), PipelineKind::Sd),
        "flux" => ModelSource::whole(folder.join("adapters/flux/model"), PipelineKind::Flux),
        other => panic!("no family {other}"),
    }
}

pub fn model(family: &str) -> ModelParts {
    ModelParts::open(&source(family)).unwrap()
}

/// The file of an adapter.
pub fn file(name: &str) -> PathBuf {
    fixtures().join("adapters/files").join(name)
}

pub fn lora(name: &str, weight: f64) -> Lora {
    Lora { path: file(name), weight, text_encoder_weight: None }
}

/// All tensors of a part, in this type.
pub fn tensors(part: &Part, kind: Kind) -> BTreeMap<String, Tensor> {
    let map = WeightMap::of(part, Device::Cpu, kind).unwrap();
    let shape = |tensor: &PartTensor| tensor.shape().iter().map(|&n| i64::try_from(n).unwrap()).collect::<Vec<_>>();
    let floats = part.tensors.iter().filter(|tensor| tensor.info.dtype.to_string().contains('F'));
    floats
        .map(|tensor| {
            let weight = map.root().tensor(&tensor.name, &shape(tensor)).unwrap();
            (tensor.name.clone(), weight.copy())
        })
        .collect()
}

/// The tensors of a safetensors file.
pub fn read(path: &Path) -> BTreeMap<String, Tensor> {
    let file = std::sync::Arc::new(TensorFile::open(path).unwrap());
    let tensors_of_it = file.tensors.iter().map(|info| PartTensor {
        name: info.name.clone(),
        file: std::sync::Arc::clone(&file),
        info: info.clone(),
        form: Form::Whole,
    });
    let (name, class, config) = ("fixture".to_owned(), String::new(), serde_json::Map::new());
    tensors(&Part { name, class, config, tensors: tensors_of_it.collect(), patches: None }, Kind::Float)
}

/// The set of adapters of a case, everything of it in its place.
pub fn set(case: &Case) -> AdapterSet {
    AdapterSet::open(&case.loras, &model(&case.family), true).unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

/// The name of a parameter in transformers, which writes some encoders with a prefix and some without.
pub fn plain(name: &str) -> &str {
    name.strip_prefix("text_model.").unwrap_or(name)
}

/// How far two tensors are apart.
pub fn difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// The pipeline of a family in single precision.
pub fn pipeline(family: &str) -> Box<dyn Pipeline> {
    let (parts, device, dtype) = (model(family), Device::Cpu, Dtype::Fp32);
    match family {
        "sdxl" => Box::new(Sdxl::open(parts, device, dtype).unwrap()),
        "sd" => Box::new(Sd::open(parts, device, dtype).unwrap()),
        "flux" => Box::new(Flux::open(parts, device, dtype).unwrap()),
        other => panic!("no family {other}"),
    }
}

/// The picture that `tools/parity/loras.py` makes of a family, without adapters.
pub fn request(family: &str) -> Request {
    let side = if family == "sdxl" { 64 } else { 16 };
    let is_flux = family == "flux";
    Request {
        prompt: "a painting of the red cat".to_owned(),
        negative_prompt: (!is_flux).then(|| "a dog".to_owned()),
        seeds: vec![7],
        steps: 3,
        guidance_scale: if is_flux { 3.5 } else { 3.0 },
        width: side,
        height: side,
        options: Options { max_sequence_length: is_flux.then_some(32), ..Options::default() },
        ..Request::default()
    }
}
