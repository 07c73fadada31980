//! What is measured.

use std::path::{Path, PathBuf};

use easel_engine_protocol::PipelineKind;
use serde::{Deserialize, Serialize};

/// What is asked of both for one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    /// As the page calls it.
    pub name: String,
    /// A folder in diffusers layout, or a single file.
    pub model: PathBuf,
    /// Of a single file: the folder that it was made of, which supplies the tokenizers.
    pub base: Option<PathBuf>,
    pub pipeline: PipelineKind,
    pub steps: u32,
    pub guidance: f64,
    /// Width and height in pixels.
    pub size: u32,
    /// How often both are started anew.
    pub rounds: usize,
    /// Pictures of each process, in turns. Of a process that makes several, the first does not count; of one that makes
    /// a single one, its first step does not.
    pub pictures: usize,
    /// What is told of it.
    pub told: Told,
}

/// What is told of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// Its steps: the model is too small for its memory to say something.
    Steps,
    /// All.
    All,
    /// How it is opened; the rest is told of its folder.
    Opening,
}

pub const PROMPT: &str = "a large red circle in the center on a blue background";

/// The small models of the tree, whose steps cost mostly what surrounds the arithmetic.
pub fn small(root: &Path) -> Vec<Subject> {
    let subject = |name: &str, model: &str, guidance, size| Subject {
        name: name.to_owned(),
        model: root.join(model),
        base: None,
        pipeline: PipelineKind::Sdxl,
        steps: 20,
        guidance,
        size,
        rounds: 1,
        pictures: 13,
        told: Told::Steps,
    };
    vec![
        subject("tiny SDXL, 64×64", "crates/engine/tests/fixtures/pipelines/sdxl-edits/model", 5.0, 64),
        subject("`models/shapes`, 128×128", "models/shapes", 3.0, 128),
    ]
}

/// A model that `tools/bench/make_models.py` has made.
pub fn large(name: &str, model: PathBuf) -> Option<Subject> {
    let (name, pipeline, guidance, size) = match name {
        "sd" => ("SD 1.5 in small, fp32 file, 384×384", PipelineKind::Sd, 7.5, 384),
        "sdxl" => ("SDXL in small, fp16 file, 384×384", PipelineKind::Sdxl, 5.0, 384),
        "flux" => ("FLUX.1 schnell in small, bf16 file, 512×512", PipelineKind::Flux, 0.0, 512),
        _ => return None,
    };
    let (name, base) = (name.to_owned(), None);
    Some(Subject { name, model, base, pipeline, steps: 5, guidance, size, rounds: 5, pictures: 1, told: Told::All })
}

/// The SDXL model of this folder as the single file that `tools/bench/single_file.py` has made of it.
pub fn single_file(file: PathBuf, folder: PathBuf) -> Subject {
    Subject {
        name: "SDXL in small, single fp16 file".to_owned(),
        model: file,
        base: Some(folder),
        pipeline: PipelineKind::Sdxl,
        steps: 1,
        guidance: 5.0,
        size: 384,
        rounds: 3,
        pictures: 1,
        told: Told::Opening,
    }
}
