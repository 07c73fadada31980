//! What is said about adapters that do not fit, and what two stacks have in common.

#![expect(clippy::expect_used, reason = "a failing test may panic")]

use std::path::{Path, PathBuf};

use crate::parity_report::Recorder;
use crate::support::{file, lora, model, pipeline, request};
use easel_engine::Error;
use easel_engine::adapters::AdapterSet;
use easel_engine::pool::Pool;
use easel_engine_protocol::{EngineErrorKind, Lora};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use tch::Device;

/// A file of these tensors, all of ones, in single precision.
fn write(path: &Path, tensors: &[(&str, &[usize])], metadata: &[(&str, &str)]) -> PathBuf {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, shape)| 1_f32.to_le_bytes().repeat(shape.iter().product())).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        ((*name).to_owned(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("a tensor"))
    });
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    serialize_to_file(views, Some(metadata), path).expect("a file");
    path.to_owned()
}

fn one(path: PathBuf) -> Lora {
    Lora { path, weight: 1.0, text_encoder_weight: None }
}

/// Why an adapter with these tensors is refused on the SDXL model.
fn refused(tensors: &[(&str, &[usize])], strict: bool) -> Error {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(&folder.path().join("a.safetensors"), tensors, &[]);
    AdapterSet::open(&[one(path)], &model("sdxl"), strict).expect_err("a refusal")
}

#[track_caller]
fn says(error: &Error, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "no `{word}` in: {error}");
    }
}

const KEY: &str = "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k";

#[test]
fn another_width_is_refused_with_both_shapes() {
    let (down, up) = (format!("lora_unet_{KEY}.lora_down.weight"), format!("lora_unet_{KEY}.lora_up.weight"));
    let error = refused(&[(&down, &[4, 768]), (&up, &[320, 4])], false);
    says(&error, &["lora_unet_down_blocks_1", "shape [64, 96]", "320 by 768", "made for Stable Diffusion 1"]);
    assert_eq!(error.kind(), EngineErrorKind::InvalidRequest);
    assert!(error.hint().is_some());
}

#[test]
fn another_family_is_refused_by_name() {
    let flux = [
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", &[4, 3072][..]),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", &[9216, 4]),
        // A text encoder that both families have does not make it fit.
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", &[4, 32]),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", &[37, 4]),
    ];
    says(&refused(&flux, false), &["not for this model", "FLUX.1", "lora_unet_double_blocks_0_img_attn_qkv"]);
    let set = AdapterSet::open(&[lora("sdxl-kohya-sgm.safetensors", 1.0)], &model("flux"), false);
    says(&set.expect_err("a refusal"), &["not for this model"]);
}

#[test]
fn what_is_no_adapter_is_refused() {
    says(&refused(&[("down_blocks.0.resnets.0.conv1.weight", &[4, 4])], false), &["no adapter"]);
    let nowhere = AdapterSet::open(&[one(PathBuf::from("/nowhere/a.safetensors"))], &model("sdxl"), false);
    let nowhere = nowhere.expect_err("a refusal");
    assert_eq!(nowhere.kind(), EngineErrorKind::ModelNotFound);
    says(&nowhere, &["/nowhere/a.safetensors"]);
    let unknown = Lora { weight: f64::NAN, ..lora("sdxl-kohya-sgm.safetensors", 1.0) };
    says(&AdapterSet::open(&[unknown], &model("sdxl"), false).expect_err("a refusal"), &["weight is NaN"]);
}

#[test]
fn kinds_that_are_not_supported_are_named_with_their_layers() {
    let error = refused(&[("lora_unet_a.oft_blocks", &[1, 2, 2]), ("lora_unet_b.oft_blocks", &[1, 2, 2])], false);
    says(&error, &["2 layers are OFT", "lora_unet_a, lora_unet_b"]);
}

#[test]
fn layers_in_pieces_are_refused() {
    let down = format!("lora_unet_{KEY}.lora_down.weight");
    says(&refused(&[(&down, &[4, 96])], false), &["one of its two factors is missing"]);
    let up = format!("lora_unet_{KEY}.lora_up.weight");
    says(&refused(&[(&down, &[4, 96]), (&up, &[64, 3])], false), &["cannot be multiplied", "[64, 3]"]);
    let scale = format!("lora_unet_{KEY}.dora_scale");
    says(&refused(&[(&down, &[4, 96]), (&up, &[64, 4]), (&scale, &[63, 1])], false), &["magnitudes", "64 rows"]);
    let alpha = format!("lora_unet_{KEY}.alpha");
    says(&refused(&[(&alpha, &[1])], false), &["nothing that it scales"]);
    says(&refused(&[(&down, &[4, 96]), (&up, &[64, 4]), (&alpha, &[2])], false), &["one number is needed"]);
}

/// One layer that fits, one that is not there.
fn in_part() -> [(String, Vec<usize>); 4] {
    let unknown = KEY.replace("attn2", "attn3");
    [
        (format!("lora_unet_{KEY}.lora_down.weight"), vec![4, 96]),
        (format!("lora_unet_{KEY}.lora_up.weight"), vec![64, 4]),
        (format!("lora_unet_{unknown}.lora_down.weight"), vec![4, 96]),
        (format!("lora_unet_{unknown}.lora_up.weight"), vec![64, 4]),
    ]
}

#[test]
fn what_fits_in_part_is_said_and_strictly_refused() {
    let tensors = in_part();
    let tensors: Vec<_> = tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    says(&refused(&tensors, true), &["1 of 2 layers", "attn3_to_k"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(&folder.path().join("a.safetensors"), &tensors, &[]);
    let set = AdapterSet::open(&[one(path.clone())], &model("sdxl"), false).expect("a set");
    let report = &set.reports()[0];
    assert_eq!(report.components().into_iter().collect::<Vec<_>>(), [("unet", 1)]);
    assert_eq!((report.matched[0].rank, report.matched[0].alpha), (Some(4), Some(4.0)));
    assert_eq!(report.matched[0].tensors, ["down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"]);
    let nearest = report.unmatched[0].nearest.as_deref();
    assert_eq!(nearest, Some("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k"));
    // The same at the front door.
    let (pipeline, pool) = (pipeline("sdxl"), Pool::new(Device::Cpu));
    let mut recorder = Recorder { stop: true, ..Recorder::default() };
    let mut request = request("sdxl");
    request.loras = vec![one(path)];
    pipeline.generate(&request, &pool, &mut recorder).expect_err("stopped");
    assert!(recorder.warnings.iter().any(|warning| warning.contains("1 of 2 layers")), "{:?}", recorder.warnings);
    request.options.strict_loras = true;
    says(&pipeline.generate(&request, &pool, &mut recorder).expect_err("a refusal"), &["1 of 2 layers"]);
}

#[test]
fn a_weight_of_zero_leaves_a_component_to_be_shared() {
    let weighed = |weight, text| {
        let lora = Lora { text_encoder_weight: text, ..lora("sdxl-kohya-sgm.safetensors", weight) };
        AdapterSet::open(&[lora], &model("sdxl"), true).expect("a set")
    };
    let changes =
        |set: &AdapterSet| ["unet", "text_encoder", "text_encoder_2"].map(|name| set.patches_for(name).is_some());
    assert_eq!(changes(&weighed(1.0, None)), [true, true, true]);
    assert_eq!(changes(&weighed(1.0, Some(0.0))), [true, false, false]);
    assert_eq!(changes(&weighed(0.0, None)), [false, false, false]);
    let part = model("sdxl").part("unet").expect("a unet").clone();
    assert_eq!(weighed(0.0, None).patched(&part).key(), part.key());
    assert_ne!(weighed(1.0, None).patched(&part).key(), part.key());
}

#[test]
fn stacks_are_told_apart_by_bytes_weights_and_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("elsewhere.safetensors");
    std::fs::copy(file("sdxl-diffusers.safetensors"), &copy).expect("a copy");
    let digest = |loras: &[Lora]| {
        let set = AdapterSet::open(loras, &model("sdxl"), true).expect("a set");
        set.patches_for("unet").expect("changes").digest()
    };
    let (a, b) = (lora("sdxl-diffusers.safetensors", 1.0), lora("sdxl-kohya-sgm.safetensors", 1.0));
    let known = digest(&[a.clone(), b.clone()]);
    assert_eq!(digest(&[one(copy), b.clone()]), known, "the same bytes elsewhere");
    assert_ne!(digest(std::slice::from_ref(&a)), known);
    assert_ne!(digest(&[Lora { weight: 0.5, ..a.clone() }, b.clone()]), known);
    assert_eq!(digest(&[b, a.clone()]), known, "no tensor is changed by both");
    let half = Lora { weight: 0.5, ..a.clone() };
    assert_ne!(digest(&[half.clone(), a.clone()]), digest(&[a, half]));
}
