//! Models that come as single files, alone, in parts and on a base: the same weights to the bit as in their folders, the
//! same configs as in diffusers, the same pictures.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failing test may panic, and the environment says how many to try"
)]

#[path = "single_support/models.rs"]
mod models;
mod single_support;
#[path = "single_support/told.rs"]
mod told;

use std::path::Path;

use easel_engine::config::{UNetConfig, VaeConfig};
use easel_engine::models::VaeDecoder;
use easel_engine::models::vae::decoder_part;
use easel_engine::parts::{Form, Part};
use easel_engine::pipelines::unit_noise;
use easel_engine::pool::Pool;
use easel_engine_protocol::{ModelSource, PipelineKind};
use tch::{Device, Kind};
use tempfile::TempDir;

use models::{folder, on_base, picture, sgm};
use single_support::{Dice, Tensors, checkpoint, differences, inverse, open, read, write};

const FIXTURES: [&str; 6] =
    ["base", "two-levels-zero-snr", "four-levels-conv", "scale-shift-quiet", "plain-vae", "asymmetric"];

#[test]
fn a_file_and_its_folder_are_the_same_to_the_bit() {
    let dir = TempDir::new().unwrap();
    for name in FIXTURES {
        let path = dir.path().join(format!("{name}.safetensors"));
        write(&path, &sgm(&folder(name)));
        let theirs = open(&ModelSource::whole(folder(name), PipelineKind::Sdxl));
        let source = on_base(path, folder(name));
        let ours = open(&source);
        assert_eq!(ours.warnings, Vec::<String>::new(), "{name}");
        for part in &theirs.parts {
            let twin = ours.part(&part.name).unwrap();
            assert_eq!(twin.files().len(), 1, "{name}: {} comes from the file", part.name);
            assert!(twin.files().iter().all(|file| file.starts_with(dir.path())));
            assert_eq!(differences(twin, part), Vec::<String>::new(), "{name}: {}", part.name);
            assert_eq!((&twin.class, &twin.config), (&part.class, &part.config), "{name}: {}", part.name);
        }
        assert_eq!(ours.scheduler, theirs.scheduler, "{name}");
    }
}

/// The same with a file that another's inverse made and diffusers has read back (`tools/parity/single_files.py`).
#[test]
fn a_file_that_diffusers_reads_is_its_folder() {
    let name = "two-levels-zero-snr";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/single").join(format!("{name}.safetensors"));
    let theirs = open(&ModelSource::whole(folder(name), PipelineKind::Sdxl));
    let ours = open(&on_base(path, folder(name)));
    for part in &theirs.parts {
        assert_eq!(differences(ours.part(&part.name).unwrap(), part), Vec::<String>::new(), "{}", part.name);
    }
}

#[test]
fn a_file_and_its_folder_make_the_same_picture() {
    let dir = TempDir::new().unwrap();
    for name in ["base", "four-levels-conv"] {
        let path = dir.path().join(format!("{name}.safetensors"));
        write(&path, &sgm(&folder(name)));
        let theirs = picture(&ModelSource::whole(folder(name), PipelineKind::Sdxl));
        assert!(picture(&on_base(path, folder(name))) == theirs, "{name}");
    }
}

/// Stable Diffusion 1 as CompVis stores it, and FLUX as Black Forest Labs name it with its encoders in the same file; each
/// as a checkpoint of `torch.save` too.
#[test]
fn files_of_other_families_make_the_pictures_of_their_folders() {
    let dir = TempDir::new().unwrap();
    let flux = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/flux").join(name).join("model");
    let models = [
        (folder("sd"), PipelineKind::Sd),
        (flux("dev"), PipelineKind::Flux),
        (flux("schnell"), PipelineKind::Flux),
        (flux("single-stream"), PipelineKind::Flux),
    ];
    for (model, pipeline) in models {
        let theirs = open(&ModelSource::whole(&model, pipeline));
        let of = |part: &str| read(&model.join(part));
        let mut tensors = Tensors::new();
        if pipeline == PipelineKind::Sd {
            let config = UNetConfig::read("unet", &theirs.part("unet").unwrap().config).unwrap();
            tensors.extend(inverse::sgm_unet(&config, &of("unet"), "model.diffusion_model."));
            tensors.extend(inverse::sgm_vae(&of("vae"), "first_stage_model."));
            tensors.extend(inverse::clip(&of("text_encoder"), "cond_stage_model.transformer."));
        } else {
            tensors.extend(inverse::bfl(&of("transformer"), "model.diffusion_model."));
            tensors.extend(inverse::sgm_vae(&of("vae"), "vae."));
            tensors.extend(inverse::clip(&of("text_encoder"), "text_encoders.clip_l.transformer."));
            let t5 = of("text_encoder_2").into_iter();
            tensors.extend(t5.map(|(name, tensor)| (format!("text_encoders.t5xxl.transformer.{name}"), tensor)));
        }
        let expected = picture(&ModelSource::whole(&model, pipeline));
        let files = ["model.safetensors", "model.ckpt"].map(|name| dir.path().join(name));
        write(&files[0], &tensors);
        checkpoint::write(&files[1], &tensors);
        for file in files {
            let source = ModelSource { base: Some(model.clone()), ..ModelSource::whole(&file, pipeline) };
            let ours = open(&source);
            for part in &theirs.parts {
                let twin = ours.part(&part.name).unwrap();
                assert!(twin.files().contains(&file), "{} comes from {}", part.name, file.display());
                assert_eq!(differences(twin, part), Vec::<String>::new(), "{}: {}", model.display(), part.name);
                assert_eq!(twin.config, part.config, "{}: {}", model.display(), part.name);
            }
            assert!(picture(&source) == expected, "{}: {}", model.display(), file.display());
        }
    }
}

/// The committed single file as `torch.save` would have written it: the same weights to the bit.
#[test]
fn a_checkpoint_is_its_safetensors_twin() {
    let dir = TempDir::new().unwrap();
    let name = "two-levels-zero-snr";
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/single").join(format!("{name}.safetensors"));
    let path = dir.path().join("model.ckpt");
    checkpoint::write(&path, &read(&twin));
    let [ours, theirs] = [path, twin].map(|path| open(&on_base(path, folder(name))));
    for part in &theirs.parts {
        assert_eq!(differences(ours.part(&part.name).unwrap(), part), Vec::<String>::new(), "{}", part.name);
        assert_eq!(ours.part(&part.name).unwrap().config, part.config);
    }
    assert_eq!(ours.warnings, theirs.warnings);
}

/// A UNet by itself, in whoever's names, on a base that has the rest.
#[test]
fn a_unet_goes_on_a_base() {
    let dir = TempDir::new().unwrap();
    let base = folder("base");
    let theirs = open(&ModelSource::whole(&base, PipelineKind::Sdxl));
    let mut unet = read(&base.join("unet"));
    // Another UNet than the base's, or nothing would be shown.
    let tensor = unet.get_mut("conv_in.bias").unwrap();
    tensor.bytes.as_mut().unwrap().reverse();
    let config = UNetConfig::read("unet", &theirs.part("unet").unwrap().config).unwrap();
    let files = [
        ("sgm", inverse::sgm_unet(&config, &unet, "")),
        ("sgm-prefixed", inverse::sgm_unet(&config, &unet, "model.diffusion_model.")),
        ("diffusers", unet.clone()),
        ("diffusers-prefixed", unet.iter().map(|(name, tensor)| (format!("unet.{name}"), tensor.clone())).collect()),
    ];
    let mut parts = Vec::new();
    for (name, tensors) in files {
        let path = dir.path().join(format!("{name}.safetensors"));
        write(&path, &tensors);
        let ours = open(&on_base(path.clone(), base.clone()));
        assert_eq!(ours.class, "StableDiffusionXLPipeline");
        assert_eq!(differences(ours.part("vae").unwrap(), theirs.part("vae").unwrap()), Vec::<String>::new());
        assert_eq!(
            differences(ours.part("unet").unwrap(), theirs.part("unet").unwrap()),
            ["conv_in.bias has other numbers"]
        );
        parts.push(ours.part("unet").unwrap().clone());
        // The same file as a part of the base.
        let mut source = ModelSource::whole(&base, PipelineKind::Sdxl);
        source.parts.insert("unet".to_owned(), path);
        let ours = open(&source);
        assert_eq!(differences(ours.part("unet").unwrap(), parts.last().unwrap()), Vec::<String>::new());
    }
    for part in &parts {
        assert_eq!(differences(part, &parts[0]), Vec::<String>::new());
        assert_eq!(part.config, theirs.part("unet").unwrap().config);
    }
}

/// Parts go before the model's own path, which goes before the base.
#[test]
fn parts_before_path_before_base() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("vae.safetensors");
    write(&path, &inverse::sgm_vae(&read(&folder("base").join("vae")), ""));
    let whole = dir.path().join("whole.safetensors");
    write(&whole, &sgm(&folder("base")));
    let mut source = on_base(whole.clone(), folder("two-levels-zero-snr"));
    source.parts.insert("vae".to_owned(), path.clone());
    let model = open(&source);
    let lies = |name: &str| model.part(name).unwrap().files().into_iter().next().unwrap();
    assert_eq!((lies("vae"), lies("unet"), lies("text_encoder")), (path, whole.clone(), whole));
    assert_eq!(model.scheduler["rescale_betas_zero_snr"], true, "from the base");
    // The path's own part has the same shapes, so its config is the part's: no base is needed for that.
    let mut source = ModelSource::whole(folder("base"), PipelineKind::Sdxl);
    source.parts.insert("vae".to_owned(), dir.path().join("vae.safetensors"));
    let own = open(&ModelSource::whole(folder("base"), PipelineKind::Sdxl));
    assert_eq!(open(&source).part("vae").unwrap().config, own.part("vae").unwrap().config);
    // A component's folder is as good as its file.
    source.parts.insert("vae".to_owned(), folder("base").join("vae"));
    let vae = open(&source);
    assert_eq!(differences(vae.part("vae").unwrap(), model.part("vae").unwrap()), Vec::<String>::new());
}

/// What no shape tells of a bare network, the model says of its own: it is the same network, and held once.
#[test]
fn a_bare_part_is_what_it_stands_in_for() {
    let dir = TempDir::new().unwrap();
    let bare = dir.path().join("bare.safetensors");
    for (name, pipeline) in [("base", PipelineKind::Sdxl), ("plain-vae", PipelineKind::Sdxl), ("sd", PipelineKind::Sd)]
    {
        let model = ModelSource::whole(folder(name), pipeline);
        let theirs = open(&model);
        let vae = &theirs.part("vae").unwrap().config;
        // From the widths of these two more groups would be guessed than they have.
        assert!(name == "sd" || vae["norm_num_groups"] != vae["block_out_channels"][0], "{name}");
        // On the model itself, and on another one, whose VAE is of other widths, with the model as its base.
        let other = ModelSource { base: Some(folder(name)), ..ModelSource::whole(folder(OTHER), PipelineKind::Sdxl) };
        for part in &theirs.parts {
            let both = pipeline == PipelineKind::Sdxl && part.name == "vae";
            let bases = if both { vec![model.clone(), other.clone()] } else { vec![model.clone()] };
            let own = read(&folder(name).join(&part.name));
            let mut files = vec![own.clone()];
            if part.name == "vae" {
                files.push(inverse::sgm_vae(&own, ""));
                files.push(inverse::sgm_vae(&own, "first_stage_model."));
            }
            for (tensors, base) in files.iter().flat_map(|tensors| bases.iter().map(move |base| (tensors, base))) {
                write(&bare, tensors);
                let mut source = base.clone();
                source.parts.insert(part.name.clone(), bare.clone());
                let ours = open(&source);
                let twin = ours.part(&part.name).unwrap();
                assert!(twin.files().contains(&bare), "{name}: {}", part.name);
                assert_eq!((&twin.class, &twin.config), (&part.class, &part.config), "{name}: {}", part.name);
                if part.name == "vae" {
                    assert_decodes_as(twin, part);
                }
            }
        }
    }
}

const OTHER: &str = "four-levels-conv";

/// One decoder for both, and each by itself makes the same picture.
fn assert_decodes_as(ours: &Part, theirs: &Part) {
    let _no_grad = tch::no_grad_guard();
    tch::set_num_threads(1);
    let [ours, theirs] = [ours, theirs].map(decoder_part);
    let decoded = |part: &Part, pool: &Pool| {
        let decoder = pool.lease::<VaeDecoder>(part, Kind::Float).unwrap();
        let channels = VaeConfig::read("vae", &part.config).unwrap().latent_channels;
        let latents = unit_noise(7, &[1, channels, 8, 8]).unwrap();
        decoder.decode(&latents, None, &mut || Ok(())).unwrap()
    };
    let (pool, alone) = (Pool::new(Device::Cpu), Pool::new(Device::Cpu));
    let first = decoded(&theirs, &pool);
    assert!(decoded(&ours, &pool).equal(&first));
    assert_eq!(pool.components().len(), 1, "one network, however it was named");
    assert!(decoded(&ours, &alone).equal(&first));
}

/// The comparison notices what a wrong map would do.
#[test]
fn wrong_maps_are_noticed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.safetensors");
    let name = "four-levels-conv";
    write(&path, &sgm(&folder(name)));
    let theirs = open(&ModelSource::whole(folder(name), PipelineKind::Sdxl));
    let ours = open(&on_base(path, folder(name)));
    let caught = |name: &str, change: &dyn Fn(&mut Part)| {
        let mut part = ours.part(name).unwrap().clone();
        change(&mut part);
        assert!(!differences(&part, theirs.part(name).unwrap()).is_empty(), "{name}");
    };
    let swap = |part: &mut Part, a: &str, b: &str| {
        for tensor in &mut part.tensors {
            tensor.name = tensor.name.replace(a, "\0").replace(b, a).replace('\0', b);
        }
    };
    caught("unet", &|part| swap(part, "mid_block.resnets.0.norm1", "mid_block.resnets.0.norm2"));
    caught("unet", &|part| swap(part, "up_blocks.0.", "up_blocks.3."));
    caught("unet", &|part| swap(part, "up_blocks.0.resnets.0.conv2", "up_blocks.0.resnets.1.conv2"));
    caught("vae", &|part| swap(part, "decoder.up_blocks.0.", "decoder.up_blocks.1."));
    let form = |part: &mut Part, end: &str, form: &Form| {
        let found = part.tensors.iter_mut().filter(|tensor| tensor.name.ends_with(end));
        assert_ne!(found.map(|tensor| tensor.form = form.clone()).count(), 0, "{end}");
    };
    caught("text_encoder_2", &|part| form(part, "0.self_attn.q_proj.weight", &Form::Whole));
    caught("text_encoder_2", &|part| form(part, "0.self_attn.q_proj.weight", &Form::Rows(1..17)));
    caught("text_encoder_2", &|part| swap(part, "k_proj", "v_proj"));
    caught("text_encoder_2", &|part| form(part, "text_projection.weight", &Form::Whole));
    caught("vae", &|part| form(part, "mid_block.attentions.0.to_q.weight", &Form::Whole));
}

/// Weights of a byte are widened, and what a VAE's attention was called before diffusers 0.17 is known.
#[test]
fn names_of_old() {
    let dir = TempDir::new().unwrap();
    let old = |name: &str| {
        let mut name = name.to_owned();
        for (today, then) in [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")] {
            name = name.replace(&format!("attentions.0.{today}."), &format!("attentions.0.{then}."));
        }
        name
    };
    let vae = read(&folder("base").join("vae"));
    let tensors: Tensors = vae.iter().map(|(name, tensor)| (old(name), tensor.clone())).collect();
    assert!(tensors.keys().any(|name| name.contains("proj_attn")));
    let theirs = open(&ModelSource::whole(folder("base"), PipelineKind::Sdxl));
    let model = dir.path().join("vae");
    std::fs::create_dir(&model).unwrap();
    write(&model.join("diffusion_pytorch_model.safetensors"), &tensors);
    std::fs::copy(folder("base").join("vae/config.json"), model.join("config.json")).unwrap();
    for path in [model.join("diffusion_pytorch_model.safetensors"), model.clone()] {
        let mut source = ModelSource::whole(folder("base"), PipelineKind::Sdxl);
        source.parts.insert("vae".to_owned(), path);
        let ours = open(&source);
        assert_eq!(differences(ours.part("vae").unwrap(), theirs.part("vae").unwrap()), Vec::<String>::new());
    }
}

/// UNets, autoencoders and encoders of shapes that nobody chose, through the names of others and back.
#[test]
fn random_networks() {
    let long = std::env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long");
    for seed in 0..if long { 200 } else { 10 } {
        single_support::random::check(&mut Dice::new(seed), seed);
    }
}
