//! One network before it is built: its class, its config, and where each of its tensors lies.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use easel_catalog::{Component, TensorFile, TensorInfo};
use serde_json::{Map, Value};

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

/// How a tensor follows from what is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it is written.
    Whole,
    /// These rows of it: queries, keys or values of a fused projection.
    Rows(Range<u64>),
    /// A matrix, turned over.
    Transposed,
    /// The same elements in this shape: a 1×1 convolution that is a matrix.
    Reshaped(Vec<u64>),
}

impl PartTensor {
    /// Its shape, outermost first.
    pub fn shape(&self) -> Vec<u64> {
        let mut shape = self.info.shape.clone();
        match &self.form {
            Form::Whole => {}
            Form::Rows(rows) => {
                if let Some(first) = shape.first_mut() {
                    *first = rows.end.saturating_sub(rows.start);
                }
            }
            Form::Transposed => shape.reverse(),
            Form::Reshaped(wanted) => shape.clone_from(wanted),
        }
        shape
    }
}

/// Which part this is, as told without reading its bytes: class, config, and place, length and time of its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartKey(u64);

impl Part {
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
        Ok(Self { name: component.name.clone(), class: component.class.clone(), config, tensors })
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
        PartKey(hasher.finish())
    }
}
