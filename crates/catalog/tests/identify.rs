//! What files and folders are: a corpus of headers with the names and shapes of public models, over holes for data.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic as tests do")]

mod corpus;
mod support;

use std::fs;
use std::path::Path;

use corpus::{Case, File, cases};
use easel_catalog::identify::{Confidence, Family, Kind, Prediction, Variant};
use easel_catalog::{Identity, identify};
use serde_json::json;
use support::{Pickle, fixture, torch_entries, write_safetensors, write_zip};
use tempfile::TempDir;

fn write(path: &Path, file: &File) {
    write_safetensors(path, &file.tensors, &file.metadata);
}

fn of(file: &File) -> Identity {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.safetensors");
    write(&path, file);
    identify(&path).unwrap()
}

fn check(what: &str, found: &Identity, case: &Case) {
    assert_eq!(found.kind, case.kind, "{what}: {found:#?}");
    match case.families {
        [only] if case.kind != Kind::Unknown => {
            assert_eq!((found.family, found.candidates.as_slice()), (Some(*only), &[][..]), "{what}: {found:#?}");
        }
        several => {
            assert_eq!(found.family, None, "{what}: {found:#?}");
            assert_eq!(found.candidates, several, "{what}: {found:#?}");
        }
    }
    assert_eq!(found.edition.as_deref(), case.edition, "{what}: {found:#?}");
    assert_eq!(found.variant, case.variant, "{what}: {found:#?}");
    assert_eq!(found.prediction, case.prediction, "{what}: {found:#?}");
    assert_eq!(found.naming, case.naming, "{what}: {found:#?}");
    assert_eq!(found.missing, case.missing, "{what}: {found:#?}");
    assert!(!found.why.is_empty(), "{what}: no reason");
    if found.kind == Kind::Unknown {
        assert_eq!(found.confidence, Confidence::None, "{what}: {found:#?}");
    }
}

#[test]
fn every_file_of_the_corpus_is_what_it_is() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in &cases {
        check(case.what, &of(&case.file), case);
    }
}

#[test]
fn the_name_of_the_file_says_nothing_and_the_container_neither() {
    let dir = TempDir::new().unwrap();
    for case in cases().iter().take(12) {
        let safetensors = dir.path().join("sdxl_flux_lora_vae.safetensors");
        write(&safetensors, &case.file);
        check(case.what, &identify(&safetensors).unwrap(), case);
        if case.file.metadata.is_empty() {
            let shapes: Vec<(&str, &[u64])> =
                case.file.tensors.iter().map(|(name, shape, _)| (name.as_str(), shape.as_slice())).collect();
            let pickle = Pickle::new(2).raw(b"}").text("state_dict").state_dict(&shapes).raw(b"s").stop();
            let sizes: Vec<u64> = shapes.iter().map(|(_, shape)| shape.iter().product::<u64>() * 2).collect();
            let path = dir.path().join("x.ckpt");
            write_zip(&mut fs::File::create(&path).unwrap(), &torch_entries(pickle, &sizes));
            check(case.what, &identify(&path).unwrap(), case);
        }
    }
}

#[test]
fn parts_say_where_they_stand() {
    let found = of(&corpus::sdxl_checkpoint(4));
    let parts: Vec<(&str, &str)> = found.parts.iter().map(|part| (part.name.as_str(), part.prefix.as_str())).collect();
    let expected = [
        ("unet", "model.diffusion_model."),
        ("text_encoder", "conditioner.embedders.0.transformer."),
        ("text_encoder_2", "conditioner.embedders.1.model."),
        ("vae", "first_stage_model."),
    ];
    assert_eq!(parts, expected);
    assert_eq!(found.confidence, Confidence::Certain);
}

#[test]
fn a_bare_vae_of_four_channels_says_that_it_is_ambiguous() {
    for file in [corpus::vae_compvis("", 4), corpus::vae_diffusers("", 4)] {
        let found = of(&file);
        assert!(found.why.iter().any(|why| why.contains("sd1, sd2, sdxl")), "{:?}", found.why);
        assert_eq!(found.confidence, Confidence::Likely);
    }
}

#[test]
fn what_beside_the_weights_tells_the_prediction() {
    let with = |key: &str| {
        let mut file = corpus::sdxl_checkpoint(4);
        file.push(key, &[1]);
        of(&file)
    };
    assert_eq!(with("v_pred").prediction, Some(Prediction::V));
    assert!(!with("v_pred").zero_terminal_snr && with("ztsnr").zero_terminal_snr);
    assert_eq!(with("edm_mean").prediction, Some(Prediction::Edm));
    assert_eq!(with("edm_vpred.sigma_max").prediction, Some(Prediction::Edm));
    assert_eq!(with("lora_unet_x.lora_down.weight").kind, Kind::Checkpoint, "leftovers of a merge make no LoRA");
}

#[test]
fn packed_weights_are_told() {
    assert_eq!(of(&corpus::flux_nf4()).quantization.as_deref(), Some("nf4"));
    assert_eq!(of(&corpus::flux_fp8()).quantization.as_deref(), Some("fp8"));
    assert_eq!(of(&corpus::unet_fp8()).quantization.as_deref(), Some("fp8"));
    assert_eq!(of(&corpus::sdxl_checkpoint(4)).quantization, None);
}

#[test]
fn fixtures_of_torch_are_known() {
    let found = identify(&fixture("inversion.pt")).unwrap();
    assert_eq!((found.kind, found.family), (Kind::TextualInversion, Some(Family::Sd1)));
    assert_eq!(identify(&fixture("nested.bin")).unwrap().kind, Kind::IpAdapter);
    assert_eq!(identify(&fixture("module.bin")).unwrap().kind, Kind::Unknown);
}

/// A model folder with the network's weights, and nothing but configs beside it.
fn folder(dir: &Path, class: &str, network: &str, file: &File, extra: &[(&str, serde_json::Value)]) {
    let mut index = json!({"_class_name": class, network: ["diffusers", "X"], "vae": ["diffusers", "AutoencoderKL"]});
    fs::create_dir_all(dir.join(network)).unwrap();
    write(&dir.join(network).join("diffusion_pytorch_model.fp16.safetensors"), file);
    fs::create_dir_all(dir.join("vae")).unwrap();
    write(&dir.join("vae/diffusion_pytorch_model.safetensors"), &corpus::vae_diffusers("", 4));
    for (path, value) in extra {
        let path = dir.join(path);
        if let Some(name) = path.parent().and_then(Path::file_name).and_then(|name| name.to_str())
            && path.parent() != Some(dir)
        {
            index[name] = json!(["diffusers", "AnyScheduler"]);
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    }
    fs::write(dir.join("model_index.json"), index.to_string()).unwrap();
}

#[test]
fn folders_are_told_by_their_weights_and_configs() {
    let dir = TempDir::new().unwrap();
    let unet = corpus::unet_diffusers("", corpus::SDXL, 9);
    let scheduler =
        json!({"_class_name": "DDIMScheduler", "prediction_type": "v_prediction", "rescale_betas_zero_snr": true});
    folder(
        dir.path(),
        "StableDiffusionXLInpaintPipeline",
        "unet",
        &unet,
        &[("scheduler/scheduler_config.json", scheduler)],
    );
    let found = identify(dir.path()).unwrap();
    assert_eq!((found.kind, found.family), (Kind::Checkpoint, Some(Family::Sdxl)));
    assert_eq!((found.variant, found.prediction), (Variant::Inpaint, Some(Prediction::V)));
    assert!(found.zero_terminal_snr);
    assert_eq!(found.missing, ["text_encoder", "text_encoder_2"]);

    // The class says one thing, the weights another: the weights are what is run.
    let dir = TempDir::new().unwrap();
    let unet = corpus::unet_diffusers("", corpus::REFINER, 4);
    folder(dir.path(), "StableDiffusionXLImg2ImgPipeline", "unet", &unet, &[]);
    assert_eq!(identify(dir.path()).unwrap().family, Some(Family::SdxlRefiner));

    // A network whose weights are not there is missing, and the class tells the family.
    fs::remove_file(dir.path().join("unet/diffusion_pytorch_model.fp16.safetensors")).unwrap();
    let found = identify(dir.path()).unwrap();
    assert_eq!(found.family, Some(Family::Sdxl));
    assert!(found.missing.contains(&"unet".to_owned()), "{:?}", found.missing);

    let dir = TempDir::new().unwrap();
    folder(dir.path(), "FluxPipeline", "transformer", &corpus::flux_diffusers(64, false), &[]);
    let found = identify(dir.path()).unwrap();
    assert_eq!((found.family, found.edition.as_deref()), (Some(Family::Flux1), Some("schnell")));
}

#[test]
fn the_folder_of_a_vae_says_whose_it_is() {
    for (scale, channels, family) in [
        (0.13025, 4, Some(Family::Sdxl)),
        (0.18215, 4, None),
        (0.3611, 16, Some(Family::Flux1)),
        (1.5305, 16, Some(Family::Sd3)),
    ] {
        let dir = TempDir::new().unwrap();
        let config = json!({"_class_name": "AutoencoderKL", "scaling_factor": scale, "latent_channels": channels});
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        write(&dir.path().join("diffusion_pytorch_model.safetensors"), &corpus::vae_diffusers("", channels));
        let found = identify(dir.path()).unwrap();
        assert_eq!((found.kind, found.family), (Kind::Vae, family), "{scale}: {found:#?}");
    }
}

#[cfg(unix)]
#[test]
fn a_repository_in_the_hub_cache_is_its_snapshot() {
    let dir = TempDir::new().unwrap();
    let repository = dir.path().join("models--org--name");
    let blob = repository.join("blobs/0f".to_owned() + &"a".repeat(62));
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    write(&blob, &corpus::unet_diffusers("", corpus::SDXL, 4));
    let snapshot = repository.join("snapshots/0123abcd");
    fs::create_dir_all(&snapshot).unwrap();
    std::os::unix::fs::symlink(&blob, snapshot.join("sdxl_lightning_4step_unet.safetensors")).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "0123abcd").unwrap();
    let found = identify(&repository).unwrap();
    assert_eq!((found.kind, found.family), (Kind::Unet, Some(Family::Sdxl)));
    assert_eq!(found.missing, ["vae", "text_encoder", "text_encoder_2"]);
}

#[test]
fn a_folder_without_one_model_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    assert!(identify(dir.path()).unwrap_err().to_string().contains("no model"));
    write(&dir.path().join("a.safetensors"), &corpus::vae_compvis("", 4));
    assert_eq!(identify(dir.path()).unwrap().kind, Kind::Vae);
    write(&dir.path().join("b.safetensors"), &corpus::vae_compvis("", 4));
    let told = identify(dir.path()).unwrap_err().to_string();
    assert!(told.contains("a.safetensors, b.safetensors"), "{told}");
}
