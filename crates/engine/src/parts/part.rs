//! One network before it is built: its class, its config, and where each of its tensors lies.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use easel_catalog::{Component, TensorFile, TensorInfo};
use serde_json::{Map, Value};

use crate::adapters::Patches;
use crate::keymap::{Form, Shapes};
use crate::{Error, Result};

/// One network before it is built.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name in the pipeline: `unet`, `text_encoder_2`.
    pub name: String,
    /// Its class in diffusers or transformers: `UNet2DConditionModel`.
    pub class: String,
    /// Its config, as diffusers spells it.
    pub config: Map<String, Value>,
    /// Its tensors under diffusers' names.
    pub tensors: Vec<PartTensor>,
    /// What adapters change about them.
    pub patches: Option<Arc<Patches>>,
}

/// A tensor of a part, and how it comes out of its file.
#[derive(Debug, Clone)]
pub struct PartTensor {
    /// Its name in diffusers.
    pub name: String,
    /// Where it is written.
    pub file: Arc<TensorFile>,
    /// What is written there.
    pub info: TensorInfo,
    /// What of that is the tensor.
    pub form: Form,
}

impl PartTensor {
    /// Its shape, outermost first.
    pub fn shape(&self) -> Vec<u64> {
        self.form.shape_of(&self.info.shape)
    }
}

/// The config of `model` for a network of these `names`, if it is the same network: where all tensors have the same shapes,
/// or where it takes other pictures in, as those for inpainting do. What one file has more than another of what is not
/// needed does not count.
pub(super) fn same_network(names: &Shapes, model: &Part) -> Option<Map<String, Value>> {
    let counts = |name: &str| {
        let spare = ["encoder.", "quant_conv."].iter().any(|place| name.starts_with(place));
        let is_vae = model.class == "AutoencoderKL";
        !(is_vae && spare || name == "text_projection.weight" || name.ends_with("position_ids"))
    };
    let plain = |name: &str| name.strip_prefix("text_model.").unwrap_or(name).to_owned();
    let ours: Shapes =
        names.iter().filter(|(name, _)| counts(name)).map(|(name, shape)| (plain(name), shape.clone())).collect();
    let theirs: Shapes = model
        .tensors
        .iter()
        .filter(|tensor| counts(&tensor.name))
        .map(|tensor| (plain(&tensor.name), tensor.shape()))
        .collect();
    let mut config = model.config.clone();
    let inlets = [("conv_in.weight", "UNet2DConditionModel"), ("x_embedder.weight", "FluxTransformer2DModel")];
    for (name, shape) in &ours {
        let same = theirs.get(name)? == shape;
        let is_inlet = inlets.contains(&(name.as_str(), model.class.as_str()));
        if !same && !is_inlet {
            return None;
        }
        if !same {
            config.insert("in_channels".to_owned(), Value::from(*shape.get(1)?));
        }
    }
    (ours.len() == theirs.len()).then_some(config)
}

/// Which part this is, as told without reading its bytes: class, config, and place, length and time of its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartKey(u64);

impl Part {
    /// A part without adapters.
    pub fn new(name: &str, class: &str, config: Map<String, Value>, tensors: Vec<PartTensor>) -> Self {
        Self { name: name.to_owned(), class: class.to_owned(), config, tensors, patches: None }
    }

    /// The part that a component of a model folder is.
    pub fn of(component: &Component) -> Result<Self> {
        let config = component.config()?;
        let files = component.weights().map_err(|error| Error::from(error).within(&component.name))?;
        let mut tensors = Vec::new();
        for file in files {
            let file = Arc::new(file);
            tensors.extend(file.tensors.iter().map(|info| PartTensor {
                name: info.name.clone(),
                file: Arc::clone(&file),
                info: info.clone(),
                form: Form::Whole,
            }));
        }
        Ok(Self { name: component.name.clone(), class: component.class.clone(), config, tensors, patches: None })
    }

    /// The files that its tensors lie in.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        self.tensors.iter().map(|tensor| tensor.file.path.clone()).collect()
    }

    /// Which part this is; another one when a file of it has changed.
    pub fn key(&self) -> PartKey {
        let mut hasher = DefaultHasher::new();
        self.class.hash(&mut hasher);
        Value::from(self.config.clone()).to_string().hash(&mut hasher);
        for path in self.files() {
            let found = fs::metadata(&path).ok();
            found.map(|found| (found.len(), found.modified().ok())).hash(&mut hasher);
            path.hash(&mut hasher);
        }
        for tensor in &self.tensors {
            (&tensor.name, tensor.info.offset, tensor.info.len, &tensor.form).hash(&mut hasher);
        }
        self.patches.as_ref().map(|patches| patches.digest()).hash(&mut hasher);
        PartKey(hasher.finish())
    }
}
