//! What is said of single files in which something is missing, does not fit or is taken by nobody.

use easel_engine::pipelines::Sdxl;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};
use tch::Device;
use tempfile::TempDir;

use crate::models::{folder, on_base, refused, sgm};
use crate::single_support::{Tensors, open, write};

#[test]
fn what_is_missing_or_does_not_fit_is_named() {
    let dir = TempDir::new().unwrap();
    let put = |name: &str, tensors: &Tensors| {
        let path = dir.path().join(name);
        write(&path, tensors);
        path
    };
    let whole = sgm(&folder("base"));
    let without = |prefix: &str| -> Tensors {
        whole.iter().filter(|(name, _)| !name.starts_with(prefix)).map(|(n, t)| (n.clone(), t.clone())).collect()
    };
    for (prefix, name) in [
        ("model.diffusion_model.", "unet"),
        ("first_stage_model.", "vae"),
        ("conditioner.embedders.0.", "text_encoder"),
        ("conditioner.embedders.1.", "text_encoder_2"),
    ] {
        let path = put("part.safetensors", &without(prefix));
        let error = refused(&ModelSource::whole(path, PipelineKind::Sdxl));
        let text = error.to_string();
        assert!(text.contains(&format!("the model has no {name},")), "{text}");
        assert!(error.hint().unwrap().contains("base model") && error.hint().unwrap().contains(name));
    }
    // A vocabulary of nobody's has no tokenizer here.
    let path = put("whole.safetensors", &whole);
    let error = refused(&ModelSource::whole(&path, PipelineKind::Sdxl));
    assert!(error.to_string().contains("no tokenizer") && error.to_string().contains("537"), "{error}");

    // The wrong thing in the right place.
    let mut source = ModelSource::whole(folder("base"), PipelineKind::Sdxl);
    source.parts.insert("vae".to_owned(), folder("base").join("text_encoder/model.safetensors"));
    let text = refused(&source).to_string();
    assert!(text.contains("parts: vae") && text.contains("a CLIP text encoder"), "{text}");
    let mut source = ModelSource::whole(folder("base"), PipelineKind::Sdxl);
    source.parts.insert("hat".to_owned(), path.clone());
    assert!(refused(&source).to_string().contains("no part `hat`"));
    let text = refused(&ModelSource::whole(&path, PipelineKind::Sd)).to_string();
    assert!(text.contains("for the pipeline sdxl, not sd"), "{text}");

    // A part of another shape.
    let mut source = ModelSource::whole(folder("base"), PipelineKind::Sdxl);
    source.parts.insert("text_encoder".to_owned(), folder("four-levels-conv").join("text_encoder"));
    let error = Sdxl::open(open(&source), Device::Cpu, Dtype::Fp32).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("cross_attention_dim is 96"), "{error}");

    // Nothing that is known, packed numbers, other noise.
    let byte = whole.values().next().unwrap().clone();
    let path = put("a.safetensors", &Tensors::from([("lora_unet_x.lora_down.weight".to_owned(), byte.clone())]));
    assert!(refused(&ModelSource::whole(path, PipelineKind::Sdxl)).to_string().contains("it holds no UNet"));
    for (mark, said) in [("model.diffusion_model.out.2.scale_weight", "packed"), ("edm_mean", "EDM")] {
        let mut tensors = whole.clone();
        tensors.insert(mark.to_owned(), byte.clone());
        let text = refused(&on_base(put("b.safetensors", &tensors), folder("base"))).to_string();
        assert!(text.contains(said) && text.contains(mark), "{text}");
    }
}

#[test]
fn what_nobody_takes_is_told_and_marks_are_read() {
    let dir = TempDir::new().unwrap();
    let mut tensors = sgm(&folder("base"));
    let some = tensors.values().next().unwrap().clone();
    for silent in [
        "model_ema.diffusion_modelinput_blocks00weight",
        "first_stage_model.loss.logvar",
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
        "conditioner.embedders.1.model.logit_scale",
        "alphas_cumprod",
        "lora_te_text_model_encoder.alpha",
        "v_pred",
        "ztsnr",
    ] {
        tensors.insert(silent.to_owned(), some.clone());
    }
    let path = dir.path().join("model.safetensors");
    write(&path, &tensors);
    let model = open(&on_base(path.clone(), folder("base")));
    assert_eq!(model.warnings, Vec::<String>::new());
    assert_eq!(model.scheduler["prediction_type"], "v_prediction");
    assert_eq!(model.scheduler["rescale_betas_zero_snr"], true);
    assert_eq!(model.scheduler["timestep_spacing"], "trailing");
    for loud in ["model.diffusion_model.hat.weight", "a", "b", "c"] {
        tensors.insert(loud.to_owned(), some.clone());
    }
    write(&path, &tensors);
    let warnings = open(&on_base(path, folder("base"))).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("a, b, c and 1 more"), "{warnings:?}");
}
