//! A model folder in diffusers layout: `model_index.json` and a folder for each component.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::component::Component;
use crate::json;
use crate::names::is_plain_name;
use crate::{Error, Result};

const INDEX: &str = "model_index.json";
const MAX_INDEX_BYTES: u64 = 1 << 20;

/// A model folder in diffusers layout. Opening it reads `model_index.json` and nothing else.
#[derive(Debug, Clone)]
pub struct DiffusersFolder {
    path: PathBuf,
    class_name: String,
    index: Map<String, Value>,
    components: Vec<Component>,
}

impl DiffusersFolder {
    /// Opens the folder. [`Error::is_not_found`] when there is no `model_index.json`.
    pub fn open(path: &Path) -> Result<Self> {
        let not_found = |missing: &str| Error::NotFound { path: path.to_owned(), missing: missing.to_owned() };
        if !path.is_dir() {
            return Err(not_found(if path.exists() { "a folder (it is a file)" } else { "the folder" }));
        }
        let index_path = path.join(INDEX);
        if !index_path.exists() {
            return Err(not_found(INDEX));
        }
        let index = json::read_object(&index_path, MAX_INDEX_BYTES, "every model has one")?;
        let Some(class_name) = index.get("_class_name").and_then(Value::as_str).map(str::to_owned) else {
            return Err(Error::malformed(&index_path, "`_class_name` is missing or not a text"));
        };
        let mut components = Vec::new();
        for (name, value) in &index {
            if let Some((library, class)) = component_of(value) {
                if !is_plain_name(name) {
                    return Err(Error::malformed(
                        &index_path,
                        format!("component `{name}` is not the name of a folder"),
                    ));
                }
                components.push(Component {
                    name: name.clone(),
                    library: library.to_owned(),
                    class: class.to_owned(),
                    dir: path.join(name),
                });
            }
        }
        Ok(Self { path: path.to_owned(), class_name, index, components })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pipeline's class in diffusers, `StableDiffusionXLPipeline` for one.
    pub fn class_name(&self) -> &str {
        &self.class_name
    }

    /// The whole of `model_index.json`.
    pub fn model_index(&self) -> &Map<String, Value> {
        &self.index
    }

    /// The component of this name, unless the index leaves it out or says null.
    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.name == name)
    }

    /// All components in the order of the index.
    pub fn components(&self) -> &[Component] {
        &self.components
    }
}

/// The `["library", "Class"]` of a component; `[null, null]` stands for one that is left out.
fn component_of(value: &Value) -> Option<(&str, &str)> {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(library), Value::String(class)]) => Some((library, class)),
        _ => None,
    }
}
