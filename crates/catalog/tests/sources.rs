//! Looking for models by the names that configurations give them.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use easel_catalog::{Lookup, find_model};
use tempfile::TempDir;

fn touch(path: &Path) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "x").unwrap();
    path.to_owned()
}

#[test]
fn files_are_looked_for_under_every_root_in_order() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let roots = [one.path().to_owned(), two.path().to_owned()];
    let second = touch(&two.path().join("shapes/model_index.json"));
    let shapes = second.parent().unwrap().to_owned();
    assert_eq!(find_model("file:shapes", &roots, None).unwrap(), Lookup::Found(shapes.clone()));
    assert_eq!(find_model(&format!("file:{}", shapes.display()), &[], None).unwrap(), Lookup::Found(shapes));
    let first = touch(&one.path().join("shapes/model_index.json"));
    assert_eq!(find_model("file:shapes", &roots, None).unwrap(), Lookup::Found(first.parent().unwrap().to_owned()));
    let looked_in = vec![one.path().join("none"), two.path().join("none")];
    assert_eq!(find_model("file:none", &roots, None).unwrap(), Lookup::NotFound { looked_in });
}

#[test]
fn repositories_are_looked_for_under_the_roots_and_in_the_hub_cache() {
    let (root, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let roots = [root.path().to_owned()];
    let repository = cache.path().join("models--org--name");
    let find = |source: &str| find_model(source, &roots, Some(cache.path())).unwrap();
    assert!(matches!(find("hf:org/name"), Lookup::NotFound { looked_in } if looked_in.len() == 3));
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "0123abcd\n").unwrap();
    let file = touch(&repository.join("snapshots/0123abcd/sub/unet.safetensors"));
    touch(&repository.join("snapshots/ffff/other.safetensors"));
    assert_eq!(find("hf:org/name"), Lookup::Found(repository.join("snapshots/0123abcd")));
    assert_eq!(find("hf:org/name/sub/unet.safetensors"), Lookup::Found(file));
    assert!(matches!(find("hf:org/name/other.safetensors"), Lookup::NotFound { .. }), "another snapshot's file");
    let own = touch(&root.path().join("org/name/model_index.json"));
    assert_eq!(find("hf:org/name"), Lookup::Found(own.parent().unwrap().to_owned()));
}

#[test]
fn a_cached_repository_without_a_ref_has_its_only_snapshot() {
    let cache = TempDir::new().unwrap();
    let repository = cache.path().join("models--org--name");
    let file = touch(&repository.join("snapshots/0123abcd/model_index.json"));
    let find = || find_model("hf:org/name", &[], Some(cache.path())).unwrap();
    assert_eq!(find(), Lookup::Found(file.parent().unwrap().to_owned()));
    touch(&repository.join("snapshots/4567cdef/model_index.json"));
    assert!(matches!(find(), Lookup::NotFound { .. }), "two snapshots, and nothing says which");
}

#[test]
fn a_ref_cannot_lead_out_of_the_cache() {
    let cache = TempDir::new().unwrap();
    let repository = cache.path().join("models--org--name");
    touch(&cache.path().join("secret/model_index.json"));
    touch(&repository.join("snapshots/x/y"));
    touch(&repository.join("refs/main"));
    fs::write(repository.join("refs/main"), "../../secret").unwrap();
    assert!(matches!(find_model("hf:org/name", &[], Some(cache.path())).unwrap(), Lookup::NotFound { .. }));
}

#[test]
fn sources_that_cannot_be_read_are_refused() {
    let bad = [
        "",
        "shapes",
        "file:",
        "file:../shapes",
        "file:a/../../b",
        "http://x/y",
        "hf:",
        "hf:org",
        "hf:org/",
        "hf:../name",
        "hf:org/name/../x",
        "hf:org/name//etc",
    ];
    for source in bad {
        let error = find_model(source, &[PathBuf::from("/")], None).unwrap_err();
        assert!(error.to_string().contains(&format!("`{source}`")), "{error}");
        assert!(!error.is_not_found());
    }
}
