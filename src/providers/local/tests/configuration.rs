//! Which models are offered and which one leads.

use serde_json::{Value, json};

use super::{House, folder, shapes};
use crate::generation::{Availability, ImageSize, Installed, Support};
use crate::providers::BuildError;

fn with(model: &Value) -> Value {
    json!({ "models": { "m": model } })
}

fn absent(source: &str, pipeline: &str) -> (String, String) {
    let house = House::new();
    let provider = house.build(with(&json!({ "pipeline": pipeline, "source": source }))).unwrap();
    let capabilities = provider.capabilities();
    let Installed::No { detail, remedy } = &capabilities.models[0].installed else { panic!("{source} is there") };
    (detail.clone(), remedy.replace(house.folder.path().to_str().unwrap(), "HOUSE"))
}

#[test]
fn a_model_that_is_here_says_what_it_makes() {
    let provider = House::new().build(with(&shapes())).unwrap();
    let capabilities = provider.capabilities();
    let model = &capabilities.models[0];
    assert_eq!(model.installed, Installed::Yes);
    // 32 latents a side, of which the VAE makes four pixels each.
    assert_eq!(model.defaults.size, ImageSize::new(128, 128));
    assert_eq!((model.defaults.steps, model.defaults.guidance_scale), (Some(20), Some(3.0)));
    assert_eq!(model.limits.size_multiple.unwrap().get(), 8);
    assert_eq!(capabilities.default_model.as_ref().unwrap().as_str(), "m");
}

#[test]
fn what_is_not_here_is_offered_with_its_remedy() {
    assert_eq!(
        absent("hf:org/name/big.safetensors", "sdxl"),
        (
            "hf:org/name/big.safetensors was not found".to_owned(),
            "run `hf download org/name big.safetensors` and start Easel again".to_owned()
        )
    );
    assert_eq!(absent("hf:org/name", "sdxl").1, "run `hf download org/name` and start Easel again");
    assert_eq!(absent("file:big", "sdxl").1, "put the model at HOUSE/models/big and start Easel again");
}

#[test]
fn a_single_file_and_what_it_lacks_may_lie_in_several_places() {
    let house = House::new();
    for file in ["unet.safetensors", "vae.safetensors"] {
        std::fs::write(house.path("models").join(file), folder::weights()).unwrap();
    }
    let model = |base: &str| {
        json!({
            "pipeline": "sdxl", "source": "file:unet.safetensors", "base": base,
            "parts": { "vae": "file:vae.safetensors" },
        })
    };
    let provider = house.build(with(&model("file:shapes"))).unwrap();
    let capabilities = provider.capabilities();
    let whole = &capabilities.models[0];
    assert_eq!(whole.installed, Installed::Yes);
    assert_eq!(whole.defaults.size, ImageSize::new(1024, 1024));
    std::fs::write(house.path("models/vae.safetensors"), [folder::weights(), folder::weights()].concat()).unwrap();
    let broken = house.build(with(&model("file:shapes"))).unwrap().capabilities();
    let Installed::No { detail, .. } = &broken.models[0].installed else { panic!("it is whole") };
    assert!(detail.starts_with("file:vae.safetensors: "), "{detail}");
    let missing = house.build(with(&model("file:base"))).unwrap().capabilities();
    let Installed::No { detail, .. } = &missing.models[0].installed else { panic!("it is there") };
    assert_eq!(detail, "file:base was not found");
}

#[test]
fn another_file_in_any_place_is_another_model() {
    let house = House::new();
    let vae = house.path("models/vae.safetensors");
    std::fs::write(&vae, folder::weights()).unwrap();
    let model = json!({ "pipeline": "sdxl", "source": "file:shapes", "parts": { "vae": "file:vae.safetensors" } });
    let digest = || house.build(with(&model)).unwrap().capabilities().models[0].digest.clone().unwrap();
    let first = digest();
    assert_eq!(first, digest());
    std::fs::File::options().write(true).open(&vae).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_ne!(first, digest());
}

#[test]
fn what_is_broken_is_told_without_where_it_lies() {
    let house = House::new();
    let broken = house.path("models/broken");
    folder::write(&broken);
    let weights = broken.join("unet/diffusion_pytorch_model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() - 1]).unwrap();
    let config = json!({ "models": { "broken": { "pipeline": "sdxl", "source": "file:broken" }, "shapes": shapes() } });
    let capabilities = house.build(config).unwrap().capabilities();
    let Installed::No { detail, .. } = &capabilities.models[0].installed else { panic!() };
    assert!(detail.starts_with("file:broken/unet/diffusion_pytorch_model.safetensors is truncated"), "{detail}");
    assert_eq!(capabilities.default_model.as_ref().unwrap().as_str(), "shapes");
}

#[test]
fn models_are_found_in_the_hubs_cache() {
    let house = House::new();
    let snapshot = house.path("hub/models--org--name/snapshots/abc");
    folder::write(&snapshot);
    std::fs::create_dir_all(house.path("hub/models--org--name/refs")).unwrap();
    std::fs::write(house.path("hub/models--org--name/refs/main"), "abc").unwrap();
    let provider = house.build(with(&json!({ "pipeline": "sdxl", "source": "hf:org/name" }))).unwrap();
    assert_eq!(provider.capabilities().models[0].installed, Installed::Yes);
}

#[test]
fn the_best_installed_model_leads_and_the_shipped_one_comes_last() {
    let house = House::new();
    let here = |keys: &[&str]| {
        let models: serde_json::Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), shapes())).collect();
        let provider = house.build(json!({ "models": models })).unwrap();
        provider.capabilities().default_model.clone().unwrap().as_str().to_owned()
    };
    assert_eq!(here(&["shapes", "mine", "juggernaut_xi", "lightning_8step", "lightning_4step"]), "lightning_4step");
    assert_eq!(here(&["shapes", "mine", "juggernaut_xi"]), "juggernaut_xi");
    assert_eq!(here(&["shapes", "zebra", "mine"]), "mine");
    assert_eq!(here(&["shapes"]), "shapes");
}

#[test]
fn without_a_model_or_an_engine_it_is_unavailable_and_says_what_to_do() {
    let house = House::new();
    let said = |config| match house.build(config).unwrap().is_available() {
        Availability::Available => panic!("it is available"),
        Availability::Unavailable { reason, remedy, .. } => (reason, remedy),
    };
    let (reason, remedy) = said(with(&json!({ "pipeline": "sdxl", "source": "hf:org/name" })));
    assert_eq!((reason, remedy.as_str()), ("no_model", "run `hf download org/name` and start Easel again"));
    let (reason, remedy) = said(with(&shapes()));
    assert_eq!(reason, "engine_missing");
    assert!(remedy.contains("make build"), "{remedy}");
    let (reason, _) = said(json!({ "engine": "/nowhere/easel-engine", "models": { "m": shapes() } }));
    assert_eq!(reason, "engine_missing");
    house.install("#!/bin/sh\n");
    assert!(house.build(with(&shapes())).unwrap().is_available().is_available());
}

#[test]
fn wrong_sections_are_told_with_their_key() {
    let house = House::new();
    let model = |key: &str, value: Value| {
        let mut model = shapes();
        model[key] = value;
        with(&model)
    };
    let cases = [
        (json!({ "models": {} }), "models", "declare at least one"),
        (model("source", json!("shapes")), "models.m.source", "neither `file:` nor `hf:`"),
        (model("source", json!("file:../x")), "models.m.source", "without `..`"),
        (model("pipeline", json!("sdxxl")), "models.m.pipeline", "the nearest is `sdxl`"),
        (model("step", json!(3)), "models.m.step", "the nearest is `steps`"),
        (model("steps", json!(0)), "models.m.steps", "nonzero"),
        (model("guidance_scale", json!(-1.0)), "models.m.guidance_scale", "at least 0"),
        (model("strength", json!(1.5)), "models.m.strength", "from 0 to 1"),
        (model("base", json!("shapes")), "models.m.base", "neither `file:` nor `hf:`"),
        (model("parts", json!({ "vae": "file:../x" })), "models.m.parts.vae", "without `..`"),
        (model("options", json!({ "clip_skips": 1 })), "models.m.options.clip_skips", "the nearest is `clip_skip`"),
        (model("options", json!({ "true_cfg_scale": 2.0 })), "models.m.options.true_cfg_scale", "only FLUX has"),
        (model("options", json!({ "preview_every": 2 })), "models.m.options.preview_every", "requests say how many"),
        (
            with(&json!({ "pipeline": "flux", "source": "file:x", "options": { "clip_skip": 1 } })),
            "models.m.options.clip_skip",
            "FLUX has no",
        ),
        (model("limits", json!({ "size_multiple": 12 })), "models.m.limits.size_multiple", "a multiple of 8"),
        (json!({ "memory": { "cpu": "8 GB" }, "models": { "m": shapes() } }), "memory.cpu", "`8 GB` is no size"),
        (json!({ "memory": { "cpu": "0 GiB" }, "models": { "m": shapes() } }), "memory.cpu", "`0 GiB` is no size"),
        (json!({ "ready_timeout": "soon", "models": { "m": shapes() } }), "ready_timeout", "`soon` is no duration"),
    ];
    for (config, at, what) in cases {
        let BuildError::Config { key, message } = house.build(config).err().unwrap();
        assert_eq!(key, at);
        assert!(message.contains(what), "{at}: {message}");
    }
}

#[test]
fn a_model_without_a_negative_prompt_says_so_and_has_none_by_default() {
    let mut model = shapes();
    model["negative_prompt"] = json!("blurry");
    model["supports_negative_prompt"] = json!(false);
    let capabilities = House::new().build(with(&model)).unwrap().capabilities();
    let model = &capabilities.models[0];
    assert_eq!((model.supports.negative_prompt, &model.defaults.negative_prompt), (Support::No, &None));
}

/// A file of these tensors, without their bytes.
fn sparse(path: &std::path::Path, tensors: &[(&str, &[u64])]) {
    let mut at = 0;
    let header: serde_json::Map<_, _> = tensors
        .iter()
        .map(|(name, shape)| {
            let (begin, end) = (at, at + 2 * shape.iter().product::<u64>());
            at = end;
            ((*name).to_owned(), json!({ "dtype": "F16", "shape": shape, "data_offsets": [begin, end] }))
        })
        .collect();
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length[..], &header].concat()).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(8 + header.len() as u64 + at).unwrap();
}

#[test]
fn a_file_of_another_family_or_without_its_other_half_is_not_offered() {
    let house = House::new();
    let unet: [(&str, &[u64]); 8] = [
        ("conv_in.weight", &[320, 4, 3, 3]),
        ("conv_out.weight", &[4, 320, 3, 3]),
        ("time_embedding.linear_1.weight", &[1280, 320]),
        ("mid_block.resnets.0.norm1.weight", &[1280]),
        ("mid_block.attentions.0.transformer_blocks.9.attn2.to_k.weight", &[1280, 2048]),
        ("add_embedding.linear_1.weight", &[1280, 2816]),
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight", &[640, 2048]),
        ("down_blocks.0.resnets.0.conv1.weight", &[320, 320, 3, 3]),
    ];
    sparse(&house.path("models/unet.safetensors"), &unet);
    let told = |model: Value| {
        let capabilities = house.build(with(&model)).unwrap().capabilities();
        match &capabilities.models[0].installed {
            Installed::Yes => String::new(),
            Installed::No { detail, .. } => detail.clone(),
        }
    };
    let file = "file:unet.safetensors";
    let foreign = told(json!({ "pipeline": "sd", "source": file }));
    assert!(foreign.contains("is of the family sdxl (unet), which its pipeline does not drive"), "{foreign}");
    let half = told(json!({ "pipeline": "sdxl", "source": file }));
    assert_eq!(half, "file:unet.safetensors has no vae, no text_encoder, no text_encoder_2");
    assert_eq!(told(json!({ "pipeline": "sdxl", "source": file, "base": "file:shapes" })), "");
}
