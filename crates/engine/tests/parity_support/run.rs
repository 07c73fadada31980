//! One picture of a fixture, and the request that asks for it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_engine::pictures::{self, Backdrop, Pixels};
use easel_engine::pipelines::Request;
use easel_engine_protocol::{InputImage, Options};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One picture of `runs.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub name: String,
    pub prompt: String,
    pub negative: Option<String>,
    pub steps: u32,
    pub guidance: f64,
    pub width: u32,
    pub height: u32,
    pub seed: u64,
    pub scheduler: Option<Map<String, Value>>,
    pub image: bool,
    #[serde(default)]
    pub seeds: Vec<u64>,
    #[serde(default)]
    pub work: Work,
    pub strength: Option<f64>,
    pub padding: Option<u32>,
    #[serde(default)]
    pub picture: String,
    pub clip_skip: Option<u32>,
    pub rescale: Option<f64>,
}

/// What a picture begins from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    #[default]
    Text,
    Image,
    Inpaint,
}

impl Run {
    /// As the pipeline is asked.
    pub fn request(&self, folder: &Path) -> Request {
        let read = |name: &str| picture(&folder.join(format!("{}{name}.png", self.picture)));
        Request {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative.clone(),
            seeds: if self.seeds.is_empty() { vec![self.seed] } else { self.seeds.clone() },
            steps: self.steps,
            guidance_scale: self.guidance,
            width: self.width,
            height: self.height,
            scheduler: self.scheduler.clone(),
            image: (self.work != Work::Text).then(|| read("")),
            mask: (self.work == Work::Inpaint).then(|| read("-mask")),
            strength: self.strength,
            mask_padding: self.padding,
            options: Options {
                clip_skip: self.clip_skip,
                guidance_rescale: self.rescale.unwrap_or_default(),
                ..Options::default()
            },
            ..Request::default()
        }
    }
}

/// A picture file, as a job would bring it.
pub fn picture(path: &Path) -> Pixels {
    let file = InputImage(STANDARD.encode(std::fs::read(path).unwrap()));
    pictures::read("picture", &file, Backdrop::White).unwrap()
}
