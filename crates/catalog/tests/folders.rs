//! Folders in diffusers layout: what is found, what is refused, and that the refusal names the file.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use easel_catalog::{DiffusersFolder, Error, verify};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An SDXL-shaped folder that is whole as far as headers tell.
struct Model(TempDir);

impl Model {
    fn new() -> Self {
        let model = Self(TempDir::new().unwrap());
        model.json(
            "model_index.json",
            &json!({
                "_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.42.0",
                "force_zeros_for_empty_prompt": true, "feature_extractor": [null, null], "image_encoder": [null, null],
                "scheduler": ["diffusers", "EulerDiscreteScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
                "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "CLIPTokenizer"],
                "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
            }),
        );
        model.json("scheduler/scheduler_config.json", &json!({"_class_name": "EulerDiscreteScheduler"}));
        for name in ["tokenizer", "tokenizer_2"] {
            model.json(&format!("{name}/vocab.json"), &json!({"a": 0}));
            model.write(&format!("{name}/merges.txt"), b"#version: 0.2\n");
        }
        for name in ["text_encoder", "text_encoder_2"] {
            model.json(&format!("{name}/config.json"), &json!({}));
            model.tensors(&format!("{name}/model.safetensors"), &["x"]);
        }
        for name in ["unet", "vae"] {
            model.json(&format!("{name}/config.json"), &json!({"sample_size": 8}));
            model.tensors(&format!("{name}/diffusion_pytorch_model.safetensors"), &["a", "b"]);
        }
        model
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn json(&self, name: &str, value: &Value) {
        self.write(name, value.to_string().as_bytes());
    }

    fn tensors(&self, name: &str, tensors: &[&str]) {
        let data = [0_u8; 16];
        let views = tensors.iter().map(|tensor| (*tensor, TensorView::new(Dtype::F16, vec![2, 4], &data).unwrap()));
        self.write(name, &safetensors::serialize(views, None).unwrap());
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn open(&self) -> DiffusersFolder {
        DiffusersFolder::open(self.0.path()).unwrap()
    }

    /// Why the model is refused; it must name `file`.
    fn refusal(&self, file: &str) -> String {
        let told = DiffusersFolder::open(self.0.path()).and_then(|folder| verify(&folder)).unwrap_err().to_string();
        assert!(told.contains(file), "`{file}` is not named: {told}");
        told
    }

    /// Replaces the weights of the `unet` by two shards, with `map` as their index.
    fn shard(&self, map: &Value) {
        self.remove("unet/diffusion_pytorch_model.safetensors");
        self.tensors("unet/one.safetensors", &["a"]);
        self.tensors("unet/two.safetensors", &["b"]);
        self.json("unet/diffusion_pytorch_model.safetensors.index.json", &json!({"metadata": {}, "weight_map": map}));
    }
}

fn open(path: &Path) -> Error {
    DiffusersFolder::open(path).unwrap_err()
}

#[test]
fn a_whole_folder_is_read() {
    let model = Model::new();
    let folder = model.open();
    verify(&folder).unwrap();
    assert_eq!(folder.class_name(), "StableDiffusionXLPipeline");
    assert_eq!(folder.model_index().get("force_zeros_for_empty_prompt"), Some(&Value::Bool(true)));
    assert_eq!(folder.components().len(), 7);
    assert!(folder.component("image_encoder").is_none());
    let unet = folder.component("unet").unwrap();
    assert_eq!((unet.library.as_str(), unet.class.as_str()), ("diffusers", "UNet2DConditionModel"));
    assert_eq!(unet.config().unwrap().get("sample_size"), Some(&json!(8)));
    let weights = unet.weights().unwrap();
    assert_eq!(weights.len(), 1);
    assert_eq!(weights[0].tensors.len(), 2);
    assert_eq!(weights[0].tensor("a").unwrap().shape, [2, 4]);
    assert!(folder.component("scheduler").unwrap().config().unwrap().contains_key("_class_name"));
}

#[test]
fn no_model_is_not_the_same_as_a_broken_one() {
    let empty = TempDir::new().unwrap();
    assert!(open(empty.path()).is_not_found());
    assert!(open(&empty.path().join("nowhere")).is_not_found());
    fs::write(empty.path().join("file"), "x").unwrap();
    assert!(open(&empty.path().join("file")).is_not_found());
    for index in ["", "[]", "{", "{}", r#"{"_class_name": 3}"#, r#"{"_class_name": "P", "../unet": ["a", "b"]}"#] {
        fs::write(empty.path().join("model_index.json"), index).unwrap();
        let error = open(empty.path());
        assert!(!error.is_not_found(), "{index}");
        assert!(error.to_string().contains("model_index.json"), "{error}");
    }
}

#[test]
fn anything_that_is_missing_is_named() {
    for file in [
        "unet/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder_2/model.safetensors",
        "scheduler/scheduler_config.json",
    ] {
        let model = Model::new();
        model.remove(file);
        assert!(model.refusal(file).contains("missing"));
    }
    let model = Model::new();
    model.remove("tokenizer_2/merges.txt");
    assert!(model.refusal("tokenizer_2").contains("merges.txt"));
    let model = Model::new();
    fs::remove_dir_all(model.path("vae")).unwrap();
    assert!(model.refusal("vae").contains("missing"));
}

#[test]
fn a_pipeline_without_a_part_it_needs_is_refused() {
    let model = Model::new();
    let mut index = model.open().model_index().clone();
    index.insert("text_encoder_2".to_owned(), json!([null, null]));
    model.json("model_index.json", &Value::Object(index));
    assert!(model.refusal("text_encoder_2").contains("which StableDiffusionXLPipeline needs"));
}

#[test]
fn shards_are_found_by_their_index() {
    let model = Model::new();
    model.shard(&json!({"b": "two.safetensors", "a": "one.safetensors"}));
    verify(&model.open()).unwrap();
    let shards = model.open().component("unet").unwrap().weights().unwrap();
    let names: Vec<_> = shards.iter().map(|shard| shard.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["one.safetensors", "two.safetensors"]);
}

#[test]
fn broken_shards_are_named() {
    let sound = json!({"a": "one.safetensors", "b": "two.safetensors"});
    let model = Model::new();
    model.shard(&sound);
    model.remove("unet/two.safetensors");
    assert!(model.refusal("two.safetensors").contains("shard"));

    let model = Model::new();
    model.shard(&json!({"a": "one.safetensors", "b": "one.safetensors"}));
    assert!(model.refusal("one.safetensors").contains("`b` is missing"));

    let model = Model::new();
    model.shard(&sound);
    model.tensors("unet/two.safetensors", &["a", "b"]);
    assert!(model.refusal("two.safetensors").contains("earlier shard"));

    let model = Model::new();
    model.shard(&sound);
    let bytes = fs::read(model.path("unet/two.safetensors")).unwrap();
    model.write("unet/two.safetensors", &bytes[..bytes.len() - 1]);
    let told = model.refusal("two.safetensors");
    assert!(told.contains("truncated") && told.contains(&bytes.len().to_string()), "{told}");
}

#[test]
fn an_index_cannot_leave_its_folder() {
    let outside =
        ["../vae/diffusion_pytorch_model.safetensors", "/etc/passwd.safetensors", "..", "a/b.safetensors", "x.bin", ""];
    for shard in outside {
        let model = Model::new();
        model.shard(&json!({"a": shard}));
        assert!(model.refusal("index.json").contains("not the name of a safetensors file"), "{shard}");
    }
    for map in [json!(null), json!([]), json!({}), json!({"a": 3})] {
        let model = Model::new();
        model.shard(&map);
        model.refusal("diffusion_pytorch_model.safetensors.index.json");
    }
}

#[test]
fn the_half_precision_variant_stands_in_for_the_plain_one() {
    let model = Model::new();
    model.remove("unet/diffusion_pytorch_model.safetensors");
    model.tensors("unet/diffusion_pytorch_model.fp16.safetensors", &["half"]);
    let weights = model.open().component("unet").unwrap().weights().unwrap();
    assert!(weights[0].tensor("half").is_some());
    model.tensors("unet/diffusion_pytorch_model.safetensors", &["full"]);
    let weights = model.open().component("unet").unwrap().weights().unwrap();
    assert!(weights[0].tensor("full").is_some(), "the plain file has more precision and comes first");
}

#[test]
fn pickled_weights_are_read_where_there_are_no_others() {
    let model = Model::new();
    let pickled = fs::read(fixture("module.bin")).unwrap();
    model.write("unet/diffusion_pytorch_model.bin", &pickled);
    let weights = |model: &Model| model.open().component("unet").unwrap().weights().unwrap();
    assert!(weights(&model)[0].tensor("a").is_some(), "safetensors come first");
    model.remove("unet/diffusion_pytorch_model.safetensors");
    assert!(weights(&model)[0].tensor("0.weight").is_some());
    model.remove("unet/diffusion_pytorch_model.bin");
    model.write("unet/diffusion_pytorch_model-00001-of-00002.bin", &pickled);
    model.write("unet/diffusion_pytorch_model-00002-of-00002.bin", &fs::read(fixture("dtypes.pt")).unwrap());
    let (first, second) = ("diffusion_pytorch_model-00001-of-00002.bin", "diffusion_pytorch_model-00002-of-00002.bin");
    model.json(
        "unet/diffusion_pytorch_model.bin.index.json",
        &json!({"weight_map": {"0.weight": first, "f32": second}}),
    );
    assert_eq!(weights(&model).len(), 2);
    assert!(weights(&model)[1].tensor("bf16").is_some());
    verify(&model.open()).unwrap();
    model.write("unet/diffusion_pytorch_model-00002-of-00002.bin", b"\x80\x02");
    assert!(model.refusal("00002-of-00002.bin").contains("ends early"));
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn a_config_has_a_limit() {
    let model = Model::new();
    model.write("unet/config.json", &vec![b' '; 2 << 20]);
    assert!(model.refusal("unet/config.json").contains("more than"));
}
