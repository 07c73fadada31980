//! Checkpoints as torch writes them: every tensor's bytes are those of its safetensors twin, whatever container,
//! protocol, type or view; and a file cut anywhere is refused.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic as tests do")]

mod support;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use easel_catalog::{Container, TensorFile, TensorInfo};
use support::{Entry, Pickle, contiguous, fixture, torch_entries, torch_legacy, torch_zip, zip};

fn read(bytes: &[u8]) -> easel_catalog::Result<TensorFile> {
    TensorFile::read(&mut Cursor::new(bytes), bytes.len() as u64, Path::new("model.ckpt"))
}

/// The elements of a tensor in order, whatever its strides.
fn elements(file: &[u8], tensor: &TensorInfo) -> Vec<u8> {
    let size = usize::try_from(tensor.dtype.size()).unwrap();
    let start = usize::try_from(tensor.offset).unwrap();
    let bytes = &file[start..start + usize::try_from(tensor.len).unwrap()];
    let Some(strides) = &tensor.strides else {
        assert_eq!(tensor.len, tensor.shape.iter().product::<u64>() * tensor.dtype.size(), "{}", tensor.name);
        return bytes.to_vec();
    };
    let mut out = Vec::new();
    let count: u64 = tensor.shape.iter().product();
    for index in 0..count {
        let (mut rest, mut place) = (index, 0);
        for (axis, stride) in tensor.shape.iter().zip(strides).rev() {
            place += rest % axis * stride;
            rest /= axis;
        }
        let at = usize::try_from(place).unwrap() * size;
        out.extend_from_slice(&bytes[at..at + size]);
    }
    out
}

fn twins() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixture(""))
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str().unwrap().strip_suffix(".safetensors").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 15, "fixtures are missing: {names:?}");
    names
}

#[test]
fn every_tensor_is_what_its_twin_holds() {
    for name in twins() {
        let (path, twin_path) = (fixture(&name), fixture(&format!("{name}.safetensors")));
        let (file, twin) = (TensorFile::open(&path).unwrap(), TensorFile::open(&twin_path).unwrap());
        let (bytes, twin_bytes) = (fs::read(&path).unwrap(), fs::read(&twin_path).unwrap());
        let container = if name.contains("legacy") { Container::TorchLegacy } else { Container::TorchZip };
        assert_eq!(file.container, container, "{name}");
        assert_eq!(file.tensors.len(), twin.tensors.len(), "{name}");
        for expected in &twin.tensors {
            let tensor =
                file.tensor(&expected.name).unwrap_or_else(|| panic!("{name}: {} is not there", expected.name));
            assert_eq!((tensor.dtype, &tensor.shape), (expected.dtype, &expected.shape), "{name}: {}", tensor.name);
            let same = elements(&bytes, tensor) == elements(&twin_bytes, expected);
            assert!(same, "{name}: other bytes for {}", tensor.name);
        }
    }
}

#[test]
fn what_lies_beside_the_weights_is_told() {
    for name in ["lightning.ckpt", "lightning.legacy.ckpt", "protocol4.ckpt", "protocol5.ckpt"] {
        let file = TensorFile::open(&fixture(name)).unwrap();
        let note = |key: &str| file.metadata.get(key).map(String::as_str);
        assert_eq!(note("global_step"), Some("470000"), "{name}");
        assert_eq!(note("pickle.mapping"), Some("state_dict"), "{name}");
        assert!(file.warnings.iter().any(|warning| warning.contains("ModelCheckpoint")), "{name}: {:?}", file.warnings);
        assert!(file.tensor("model_ema.decay").is_some(), "{name}");
    }
    let upscaler = TensorFile::open(&fixture("upscaler.pth")).unwrap();
    assert_eq!(upscaler.metadata.get("pickle.mapping").map(String::as_str), Some("params_ema"));
}

#[test]
fn views_of_one_storage_share_its_bytes() {
    for name in ["views.pt", "views.legacy.pt"] {
        let file = TensorFile::open(&fixture(name)).unwrap();
        let tensor = |name: &str| file.tensor(name).unwrap();
        let base = tensor("base");
        assert_eq!(base.strides, None);
        assert_eq!(tensor("same").offset, base.offset);
        assert_eq!((tensor("slice").offset, &tensor("slice").strides), (base.offset + 64, &None));
        assert_eq!((tensor("transposed").offset, &tensor("transposed").strides), (base.offset, &Some(vec![1, 8])));
        assert_eq!(tensor("steps").strides, Some(vec![16, 3]));
        assert_eq!(tensor("expanded").strides, Some(vec![0, 1]));
        assert_eq!(tensor("one_row").strides, None, "the stride of an axis of one element says nothing");
        assert_eq!((tensor("empty").len, tensor("scalar").len), (0, 4));
    }
}

#[test]
fn every_prefix_of_a_sound_file_is_refused_and_every_longer_one() {
    for name in twins() {
        for name in [name.clone(), format!("{name}.safetensors")] {
            let bytes = fs::read(fixture(&name)).unwrap();
            for cut in 0..bytes.len() {
                let error = read(&bytes[..cut]).expect_err(&format!("{name} cut at {cut} was read"));
                assert!(error.to_string().starts_with("model.ckpt"), "{name} cut at {cut}: {error}");
            }
            let mut longer = bytes;
            longer.push(0);
            assert!(read(&longer).is_err(), "{name} with a byte more was read");
        }
    }
}

#[test]
fn weights_are_found_in_mappings_of_any_name() {
    let shapes: support::Shapes<'_> = &[("a.weight", &[2, 3]), ("a.bias", &[2])];
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("flat", Pickle::new(2).state_dict(shapes).stop(), "a.weight"),
        ("one wrapper", Pickle::new(2).raw(b"}").text("whatever").state_dict(shapes).raw(b"s").stop(), "a.weight"),
        (
            "two wrappers",
            Pickle::new(2).raw(b"}").text("x").raw(b"}").text("model").state_dict(shapes).raw(b"ss").stop(),
            "a.weight",
        ),
        (
            "beside an optimizer",
            Pickle::new(2)
                .raw(b"}(")
                .text("net")
                .state_dict(shapes)
                .text("optimizer")
                .state_dict(&[("exp_avg", &[2])])
                .raw(b"u")
                .stop(),
            "a.weight",
        ),
        (
            "beside unknown optimizer states",
            Pickle::new(2)
                .raw(b"}(")
                .text("unet")
                .state_dict(shapes)
                .text("vae")
                .state_dict(&[("b", &[2])])
                .raw(b"u")
                .stop(),
            "unet.a.weight",
        ),
        ("a list in it", Pickle::new(2).raw(b"}(K\x00](").plain("0", &[6]).plain("1", &[2]).raw(b"eu").stop(), "0.1"),
        ("dict from a mark", Pickle::new(0).raw(b"(").text("a.weight").plain("0", &[6]).raw(b"d").stop(), "a.weight"),
    ];
    for (what, pickle, name) in cases {
        let file = read(&torch_zip(pickle, &[12, 4])).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(file.tensor(name).is_some(), "{what}: {:?}", file.tensors);
    }
}

#[test]
fn foreign_values_outside_tensors_are_no_obstacle() {
    let numpy_scalar = |pickle: Pickle| {
        let head = pickle.global("numpy.core.multiarray", "scalar").raw(b"(");
        let dtype = head.global("numpy", "dtype").raw(b"(X\x02\x00\x00\x00f8\x89\x88tR(K\x03").text("<").raw(b"NNNtb");
        dtype.global("_codecs", "encode").raw(b"(").text("abcdefgh").text("latin1").raw(b"tRtR")
    };
    let instance = |pickle: Pickle| {
        pickle.global("omegaconf.dictconfig", "DictConfig").raw(b")\x81}").text("_content").raw(b"}sb")
    };
    let old_instance = |pickle: Pickle| {
        let class = pickle.global("copy_reg", "_reconstructor").raw(b"(").global("my.package", "Thing");
        class.global("__builtin__", "object").raw(b"NtR}b")
    };
    let path = |pickle: Pickle| pickle.global("pathlib", "PosixPath").raw(b"(").text("/tmp").raw(b"tR");
    let function = |pickle: Pickle| pickle.global("my.package", "function");
    let python2 =
        |pickle: Pickle| pickle.global("collections", "OrderedDict").raw(b"(](](").text("k").raw(b"K\x01eetR");
    let values: [(&str, &dyn Fn(Pickle) -> Pickle); 6] = [
        ("a numpy scalar", &numpy_scalar),
        ("an instance", &instance),
        ("an instance of protocol 1", &old_instance),
        ("a path", &path),
        ("a function that is not called", &function),
        ("a mapping of Python 2", &python2),
    ];
    for (what, value) in values {
        let start = Pickle::new(2).raw(b"}(").text("state_dict").state_dict(&[("w", &[2, 3])]).text("extra");
        let pickle = value(start).raw(b"u").stop();
        let file = read(&torch_zip(pickle, &[12])).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(file.tensors.len(), 1, "{what}");
    }
}

#[test]
fn zips_of_other_writers_are_read() {
    // No alignment, no zip64 record, a comment: as Python's zipfile would write it.
    let pickle = Pickle::new(2).state_dict(&[("w", &[2, 3])]).stop();
    let bytes = zip(&torch_entries(pickle, &[]));
    let without_record = bytes.len() - 22 - 20 - 56;
    let mut plain = bytes[..without_record].to_vec();
    plain.extend_from_slice(&bytes[bytes.len() - 22..bytes.len() - 2]);
    plain.extend([3, 0, b'a', b'b', b'c']);
    let error = read(&plain).unwrap_err().to_string();
    assert!(error.contains("data/0 is not in the file"), "{error}");
}

#[test]
fn views_of_storages_from_before_torch_0_4_are_read() {
    let viewed = |pickle: Pickle| {
        let head =
            pickle.raw(b"(").text("storage").global("torch.cuda", "HalfStorage").text("7").text("cuda:0").int(10);
        head.raw(b"(").text("8").int(4).int(6).raw(b"ttQ")
    };
    let shape = [2, 3];
    let pickle = Pickle::new(2).raw(b"}").text("w").tensor(viewed, 0, &shape, &contiguous(&shape)).raw(b"s").stop();
    let file = read(&torch_legacy(&pickle, &[("7", 10, 20)])).unwrap();
    let tensor = file.tensor("w").unwrap();
    assert_eq!(tensor.offset + tensor.len, file.len);
    assert_eq!(tensor.len, 12);
}

#[test]
fn a_file_of_another_kind_is_named() {
    let pickle = Pickle::new(2).state_dict(&[("w", &[2])]).stop();
    let mut script = torch_entries(pickle.clone(), &[4]);
    script.push(Entry::bytes("model/code/__torch__.py", "class Model"));
    let mut big = torch_entries(pickle, &[4]);
    big[1] = Entry::bytes("model/byteorder", *b"big");
    let cases = [
        (zip(&script), "TorchScript"),
        (zip(&big), "little-endian"),
        (zip(&[Entry::bytes("word/document.xml", "x")]), "without data.pkl"),
        (b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0".to_vec(), "GGUF"),
        (Pickle::new(2).state_dict(&[("w", &[2])]).stop(), "torch.save did not write"),
        (b"<!DOCTYPE html><html></html>".to_vec(), "not safetensors"),
    ];
    for (bytes, reason) in cases {
        let told = read(&bytes).unwrap_err().to_string();
        assert!(told.contains(reason), "{told}");
    }
}
