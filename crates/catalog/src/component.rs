//! One component of a model folder: its config and its weights files.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::json;
use crate::names::is_plain_name;
use crate::tensor_file::TensorFile;
use crate::{Error, Result};

const MAX_CONFIG_BYTES: u64 = 1 << 20;
const MAX_WEIGHT_INDEX_BYTES: u64 = 16 << 20;

/// How weights files are called: the extension, and what stands before it by diffusers and by transformers. safetensors
/// come first: they need no pickle to be read.
const FORMS: [Form; 2] = [
    Form { extension: "safetensors", stems: ["diffusion_pytorch_model", "model"] },
    Form { extension: "bin", stems: ["diffusion_pytorch_model", "pytorch_model"] },
];
/// Variants in order of preference; the plain name comes first, so that nobody gets less precision than is there.
const VARIANTS: [&str; 3] = ["", "bf16", "fp16"];

/// A component as `model_index.json` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name in the index, also its folder's: `unet`.
    pub name: String,
    /// The Python library of its class: `diffusers` or `transformers`.
    pub library: String,
    /// Its class: `UNet2DConditionModel`.
    pub class: String,
    /// Its folder.
    pub dir: PathBuf,
}

/// One way to write weights.
struct Form {
    extension: &'static str,
    stems: [&'static str; 2],
}

/// Where the weights of a component are written.
enum Weights {
    Single(PathBuf),
    /// The index, and the extension of the shards that it names.
    Sharded(PathBuf, &'static str),
}

impl Component {
    /// Its config: `config.json`, or the file that its kind of class has instead.
    pub fn config(&self) -> Result<Map<String, Value>> {
        let why = format!("the config of {} ({})", self.name, self.class);
        json::read_object(&self.dir.join(self.config_file()), MAX_CONFIG_BYTES, &why)
    }

    fn config_file(&self) -> &'static str {
        if self.class.contains("Scheduler") {
            "scheduler_config.json"
        } else if self.is_tokenizer() {
            "tokenizer_config.json"
        } else if self.class.contains("ImageProcessor") || self.class.contains("FeatureExtractor") {
            "preprocessor_config.json"
        } else {
            "config.json"
        }
    }

    pub(crate) fn is_tokenizer(&self) -> bool {
        self.class.contains("Tokenizer")
    }

    /// Whether it is a network, and so has weights.
    pub(crate) fn has_weights(&self) -> bool {
        self.config_file() == "config.json"
    }

    /// Its weights files with their headers read and checked: one, or all shards in the order of their names.
    pub fn weights(&self) -> Result<Vec<TensorFile>> {
        match self.find_weights()? {
            Weights::Single(path) => Ok(vec![TensorFile::open(&path)?]),
            Weights::Sharded(index, extension) => self.open_shards(&index, extension),
        }
    }

    fn find_weights(&self) -> Result<Weights> {
        for Form { extension, stems } in FORMS {
            for variant in VARIANTS {
                for stem in stems {
                    let dotted = if variant.is_empty() { String::new() } else { format!(".{variant}") };
                    let single = self.dir.join(format!("{stem}{dotted}.{extension}"));
                    if single.exists() {
                        return Ok(Weights::Single(single));
                    }
                    // diffusers has spelled the variant of an index in both places.
                    let indexes = [
                        format!("{stem}{dotted}.{extension}.index.json"),
                        format!("{stem}.{extension}.index{dotted}.json"),
                    ];
                    if let Some(index) = indexes.iter().map(|name| self.dir.join(name)).find(|path| path.exists()) {
                        return Ok(Weights::Sharded(index, extension));
                    }
                }
            }
        }
        let stem = if self.library == "transformers" { "model" } else { "diffusion_pytorch_model" };
        let path = self.dir.join(format!("{stem}.safetensors"));
        Err(Error::missing(&path, format!("the weights of {} ({})", self.name, self.class)))
    }

    fn open_shards(&self, index_path: &Path, extension: &str) -> Result<Vec<TensorFile>> {
        let index = json::read_object(index_path, MAX_WEIGHT_INDEX_BYTES, "the index of the shards")?;
        let by_shard = tensors_by_shard(&index, extension).map_err(|reason| Error::malformed(index_path, reason))?;
        let mut shards = Vec::with_capacity(by_shard.len());
        let mut seen = HashSet::new();
        for (shard, expected) in by_shard {
            let path = self.dir.join(shard);
            if !path.exists() {
                return Err(Error::missing(&path, format!("a shard of the weights of {}", self.name)));
            }
            let file = TensorFile::open(&path)?;
            let names: HashSet<&str> = file.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            if let Some(absent) = expected.iter().find(|name| !names.contains(**name)) {
                return Err(Error::malformed(
                    &path,
                    format!("tensor `{absent}` is missing, which the index puts here"),
                ));
            }
            if let Some(twice) = file.tensors.iter().find(|tensor| !seen.insert(tensor.name.clone())) {
                return Err(Error::malformed(&path, format!("tensor `{}` stands in an earlier shard too", twice.name)));
            }
            shards.push(file);
        }
        Ok(shards)
    }
}

/// The `weight_map` of an index turned around. The error is the reason alone.
fn tensors_by_shard<'i>(
    index: &'i Map<String, Value>,
    extension: &str,
) -> Result<BTreeMap<&'i str, Vec<&'i str>>, String> {
    let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
        return Err("`weight_map` is missing or not an object".to_owned());
    };
    let mut shards = BTreeMap::<&str, Vec<&str>>::new();
    for (tensor, shard) in map {
        // A shard is a file beside its index: anything else could make the engine map files that are no part of the model.
        let Some(shard) = shard.as_str().filter(|name| is_plain_name(name) && has_extension(name, extension)) else {
            return Err(format!(
                "tensor `{tensor}` lies in {shard}, which is not the name of a {extension} file in this folder"
            ));
        };
        shards.entry(shard).or_default().push(tensor);
    }
    if shards.is_empty() {
        return Err("`weight_map` is empty".to_owned());
    }
    Ok(shards)
}

fn has_extension(name: &str, wanted: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == wanted)
}
