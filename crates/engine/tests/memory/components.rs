//! What is one component and what is two: by their bytes, and by what computes with them.

use std::fs;
use std::path::Path;

use easel_engine::models::{ClipText, UNet, VaeDecoder};
use easel_engine::parts::ModelParts;
use easel_engine::pool::{Limits, Network, Pool};
use easel_engine_protocol::{ModelSource, PipelineKind};
use tch::{Device, Kind};

use super::support::copy;
use super::{Models, parts, set, weights};

/// How many components of this kind a pool has after leasing that of each model.
fn components<N: Network>(pool: &Pool, name: &str, models: &[&Path]) -> usize {
    let before = pool.components().len();
    for path in models {
        pool.lease::<N>(parts(path).part(name).unwrap(), Kind::Float).unwrap();
    }
    pool.components().len() - before
}

#[test]
fn equal_bytes_are_one_component_in_whichever_folder_and_name() {
    let models = Models::new();
    let (a, b) = (models.copy("a"), models.copy("b"));
    set(&b.join("vae/config.json"), "scaling_factor", 0.5.into());
    set(&b.join("vae/config.json"), "force_upcast", false.into());
    set(&b.join("unet/config.json"), "_name_or_path", "elsewhere".into());
    set(&b.join("unet/config.json"), "sample_size", 32.into());
    let pool = Pool::new(Device::Cpu);
    assert_eq!(components::<VaeDecoder>(&pool, "vae", &[&a, &b]), 1);
    assert_eq!(components::<UNet>(&pool, "unet", &[&a, &b]), 1);
    assert_eq!(components::<ClipText>(&pool, "text_encoder_2", &[&a, &b]), 1);
    assert_eq!(pool.components().len(), 3);
}

#[test]
fn a_component_by_itself_is_that_of_the_model_that_it_was_taken_from() {
    let models = Models::new();
    let (a, bare) = (models.copy("a"), models.0.path().join("vae by itself"));
    copy(&a.join("vae"), &bare);
    let source = ModelSource {
        parts: [("vae".to_owned(), bare)].into(),
        ..ModelSource::whole(models.copy("b"), PipelineKind::Sdxl)
    };
    let pool = Pool::new(Device::Cpu);
    for parts in [parts(&a), ModelParts::open(&source).unwrap()] {
        pool.lease::<VaeDecoder>(parts.part("vae").unwrap(), Kind::Float).unwrap();
    }
    assert_eq!(pool.components().len(), 1);
}

#[test]
fn what_computes_otherwise_is_another_component() {
    let models = Models::new();
    let a = models.copy("a");
    let others = [
        ("another bit", models.changed("bit", "unet")),
        ("another epsilon", {
            let path = models.copy("epsilon");
            set(&path.join("unet/config.json"), "norm_eps", 1e-3.into());
            path
        }),
        ("another activation", {
            let path = models.copy("activation");
            set(&path.join("unet/config.json"), "act_fn", "gelu".into());
            path
        }),
    ];
    for (what, other) in &others {
        let pool = Pool::new(Device::Cpu);
        assert_eq!(components::<UNet>(&pool, "unet", &[&a, other]), 2, "{what}");
        assert_eq!(components::<VaeDecoder>(&pool, "vae", &[&a, other]), 1, "{what}");
    }
}

#[test]
fn a_file_that_changes_is_another_component_and_goes_back_to_be_the_first() {
    let models = Models::new();
    let a = models.copy("a");
    let pool = Pool::new(Device::Cpu);
    assert_eq!(components::<UNet>(&pool, "unet", &[&a]), 1);
    let file = weights(&a.join("unet"));
    let bytes = fs::read(&file).unwrap();
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    // Written beside and moved there, as files should be: what is mapped stays what it was.
    let replace = |bytes: &[u8]| {
        fs::write(file.with_extension("part"), bytes).unwrap();
        fs::rename(file.with_extension("part"), &file).unwrap();
    };
    replace(&other);
    assert_eq!(components::<UNet>(&pool, "unet", &[&a]), 1);
    replace(&bytes);
    assert_eq!(pool.components().len(), 2);
}

#[test]
fn digests_are_kept_for_the_next_process() {
    let models = Models::new();
    let (a, b) = (models.copy("a"), models.copy("b"));
    let cache = models.0.path().join("cache");
    let limits = Limits { cache: Some(cache.clone()), ..Limits::default() };
    let file = || fs::read_to_string(cache.join("components.digests")).unwrap_or_default();
    let pool = Pool::with(Device::Cpu, &limits);
    assert_eq!(components::<UNet>(&pool, "unet", &[&a]), 1);
    assert_eq!(file(), "", "nothing is read where there is nothing to compare with");
    assert_eq!(components::<UNet>(&pool, "unet", &[&b]), 0);
    assert_eq!(file().lines().count(), 2);
    let pool = Pool::with(Device::Cpu, &limits);
    assert_eq!(components::<UNet>(&pool, "unet", &[&a, &b]), 1);
    assert_eq!(file().lines().count(), 2, "they were found");
}
