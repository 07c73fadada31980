use std::path::Path;
use std::sync::Arc;

use easel_catalog::{TensorFile, TensorInfo};
use serde_json::Map;
use tch::{Device, Kind, Tensor};

use super::WeightMap;
use crate::parts::{Form, Part, PartTensor};

/// Writes a file of these tensors, its header `pad` bytes longer than needed.
fn write(path: &Path, tensors: &[(&str, &str, &[i64], &[u8])], pad: usize) -> TensorFile {
    let mut entries = Vec::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        entries
            .push(format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"));
        data.extend_from_slice(bytes);
    }
    let mut header = format!("{{{}}}", entries.join(","));
    while header.len() % 8 != pad {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&data);
    std::fs::write(path, file).unwrap();
    TensorFile::open(path).unwrap()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn part(file: TensorFile) -> Part {
    let file = Arc::new(file);
    let whole = |info: &TensorInfo| PartTensor {
        name: info.name.clone(),
        file: Arc::clone(&file),
        info: info.clone(),
        form: Form::Whole,
    };
    let tensors = file.tensors.iter().map(whole).collect();
    Part { name: "unet".to_owned(), class: String::new(), config: Map::new(), tensors, patches: None }
}

fn open(file: TensorFile, kind: Kind) -> WeightMap {
    WeightMap::of(&part(file), Device::Cpu, kind).unwrap()
}

#[test]
fn tensors_are_views_of_the_file_and_outlive_the_map() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let file = write(&folder.path().join("a.safetensors"), &[("in.weight", "F32", &[2, 3], &bytes)], 0);
    let map = open(file, Kind::Float);
    let weight = map.root().at("in").tensor("weight", &[2, 3]).unwrap();
    let again = map.root().at("in").tensor("weight", &[2, 3]).unwrap();
    assert_eq!(weight.data_ptr(), again.data_ptr(), "the same bytes, not a copy of them");
    drop((map, again));
    std::fs::remove_file(folder.path().join("a.safetensors")).unwrap();
    assert_eq!(*weight, Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]));
}

#[test]
fn what_does_not_lie_right_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = floats(&[0.5, -0.25]);
    for pad in [1, 2, 3] {
        let file = write(&folder.path().join("a.safetensors"), &[("w", "F32", &[2], &bytes)], pad);
        let weight = open(file, Kind::Float).root().tensor("w", &[2]).unwrap();
        assert_eq!(*weight, Tensor::from_slice(&[0.5_f32, -0.25]), "{pad} bytes off");
    }
}

#[test]
fn types_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    // 1.5 and -2 in half precision, in bfloat16 and in double precision.
    let half: Vec<u8> = [0x3e00_u16, 0xc000].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let brain: Vec<u8> = [0x3fc0_u16, 0xc000].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let double: Vec<u8> = [1.5_f64, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    // And in the two floats of a byte.
    let tensors: [(&str, &str, &[i64], &[u8]); 5] = [
        ("d", "F64", &[2], &double),
        ("h", "F16", &[2], &half),
        ("b", "BF16", &[2], &brain),
        ("e4", "F8_E4M3", &[2], &[0x3c, 0xc0]),
        ("e5", "F8_E5M2", &[2], &[0x3e, 0xc0]),
    ];
    let map = open(write(&folder.path().join("a.safetensors"), &tensors, 0), Kind::Float);
    for name in ["d", "h", "b", "e4", "e5"] {
        assert_eq!(*map.root().tensor(name, &[2]).unwrap(), Tensor::from_slice(&[1.5_f32, -2.0]), "{name}");
    }
}

#[test]
fn refusals_name_component_tensor_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = floats(&[1.0, 2.0]);
    let tensors: [(&str, &str, &[i64], &[u8]); 2] = [("a.weight", "F32", &[1, 2], &bytes), ("n", "I64", &[1], &[0; 8])];
    let map = open(write(&folder.path().join("a.safetensors"), &tensors, 0), Kind::Float);
    let refused = |scope: &str, name: &str, shape: &[i64]| {
        map.root().at(scope).tensor(name, shape).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        refused("a", "weight", &[2, 1]),
        "unet: tensor a.weight has shape [1, 2] in the file, the config needs [2, 1]"
    );
    assert_eq!(refused("a", "bias", &[2]), "unet: tensor a.bias of shape [2] is missing from the weights");
    let error = map.root().tensor("n", &[1]).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "unet: tensor n is stored as I64; F64, F32, F16, BF16 and F8 can be used");
}

#[test]
fn a_file_that_changed_since_its_header_was_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let file = write(&path, &[("w", "F32", &[1], &floats(&[1.0]))], 0);
    std::fs::write(&path, b"shorter").unwrap();
    let error = WeightMap::of(&part(file), Device::Cpu, Kind::Float).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("unet: ") && error.contains("changed while it was opened"), "{error}");
}

#[test]
fn what_nobody_took_is_named_unless_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let byte = floats(&[1.0]);
    let names = ["encoder.w", "e", "d", "c", "b", "a"];
    let tensors: Vec<(&str, &str, &[i64], &[u8])> = names.map(|name| (name, "F32", &[1][..], byte.as_slice())).into();
    let map = open(write(&folder.path().join("a.safetensors"), &tensors, 0), Kind::Float);
    let known = |name: &str| name.starts_with("encoder.");
    let sentence = "unet: the weights hold tensors that the config has no place for: a, b, c and 2 more";
    assert_eq!(map.left_over(known).unwrap(), sentence);
    for name in ["a", "b", "c", "d", "e"] {
        map.root().tensor(name, &[1]).unwrap();
    }
    assert_eq!(map.left_over(known), None);
}

#[test]
fn a_tensor_may_be_a_part_of_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for pad in [0, 1] {
        let bytes = floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let file = write(&folder.path().join("a.safetensors"), &[("w", "F32", &[3, 2], &bytes)], pad);
        let whole = part(file).tensors.remove(0);
        let taken = |form: Form, strides: Option<Vec<u64>>, shape: &[i64]| {
            let mut tensor = PartTensor { form, ..whole.clone() };
            tensor.info.strides = strides;
            let part = Part {
                name: "unet".to_owned(),
                class: String::new(),
                config: Map::new(),
                tensors: vec![tensor],
                patches: None,
            };
            let weight = WeightMap::of(&part, Device::Cpu, Kind::Float).unwrap().root().tensor("w", shape).unwrap();
            assert!(weight.is_contiguous());
            Vec::<f32>::try_from(weight.flatten(0, -1)).unwrap()
        };
        assert_eq!(taken(Form::Rows(1..3), None, &[2, 2]), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!(taken(Form::Joined(vec![2..3, 0..2]), None, &[3, 2]), [5.0, 6.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(taken(Form::Transposed, None, &[2, 3]), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        assert_eq!(taken(Form::Reshaped(vec![6, 1]), None, &[6, 1]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(taken(Form::Whole, Some(vec![1, 3]), &[3, 2]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}

/// 1.5 and -2 in half precision, 0.5 and 1 in bfloat16: what a layer computes with them is the same to the bit, whether they
/// are widened when they are read or when they are used.
#[test]
fn matrices_that_stay_as_stored_compute_the_same() {
    use crate::nn::{Embedding, Linear};

    let folder = tempfile::tempdir().unwrap();
    let bytes = |bits: &[u16]| bits.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>();
    let (half, brain) = (bytes(&[0x3e00, 0xc000, 0x3c00, 0x2e66]), bytes(&[0x3f00, 0x3f80]));
    let tensors: [(&str, &str, &[i64], &[u8]); 2] = [("weight", "F16", &[2, 2], &half), ("bias", "BF16", &[2], &brain)];
    let file = write(&folder.path().join("a.safetensors"), &tensors, 0);
    let widened = open(file.clone(), Kind::Float);
    let as_stored = open(file.clone(), Kind::Float).with_matrices_as_stored(|name| name == "weight");
    let others = open(file, Kind::Float).with_matrices_as_stored(|name| name != "weight");
    assert_eq!(others.root().matrix("weight", &[2, 2]).unwrap().kind(), Kind::Float);
    assert_eq!(as_stored.root().matrix("weight", &[2, 2]).unwrap().kind(), Kind::Half);
    assert_eq!(as_stored.root().tensor("bias", &[2]).unwrap().kind(), Kind::Float);
    assert_eq!(widened.root().matrix("weight", &[2, 2]).unwrap().kind(), Kind::Float);
    let x = Tensor::from_slice(&[0.3_f32, -7.1, 2.0, 0.01, 5.5, -0.6]).view([3, 2]);
    let [now, later] = [&widened, &as_stored].map(|map| {
        let (linear, table) = (Linear::open(&map.root(), 2, 2).unwrap(), Embedding::open(&map.root(), 2, 2).unwrap());
        let rows = table.forward(&Tensor::from_slice(&[1_i64, 0])).unwrap();
        // Twice: what was let go of is read again.
        assert_eq!(linear.forward(&x).unwrap(), linear.forward(&x).unwrap());
        let turned = x.f_view([2, 3]).unwrap().f_transpose(0, 1).unwrap();
        [linear.forward(&x).unwrap(), linear.forward(&turned).unwrap(), rows, table.first_rows(1).unwrap()]
    });
    for (now, later) in now.iter().zip(&later) {
        assert_eq!((now, now.kind()), (later, Kind::Float));
    }
}

/// Kernels that are packed and not, in half precision and in single, of stride 1 and 2: used where they lie, or in memory
/// of their own from the beginning.
#[test]
fn kernels_that_stay_as_stored_compute_the_same() {
    use crate::nn::Conv2d;

    let folder = tempfile::tempdir().unwrap();
    let noise = |shape: &[i64]| torch_shim::Generator::new(5).unwrap().randn(shape).unwrap();
    for (name, dtype, kind, (inputs, outputs)) in
        [("a", "F16", Kind::Half, (64, 48)), ("b", "F32", Kind::Float, (64, 48)), ("c", "F16", Kind::Half, (4, 8))]
    {
        let shape = [outputs, inputs, 3, 3];
        let numbers = noise(&shape).to_kind(kind).view(-1);
        let bytes = Vec::<u8>::try_from(numbers.view_dtype(Kind::Uint8)).unwrap();
        let bias = floats(&vec![0.25; usize::try_from(outputs).unwrap()]);
        let tensors: [(&str, &str, &[i64], &[u8]); 2] =
            [("weight", dtype, &shape, &bytes), ("bias", "F32", &[outputs], &bias)];
        let file = write(&folder.path().join(name), &tensors, 0);
        let x = noise(&[1, inputs, 40, 40]);
        for stride in [1, 2] {
            let (own, stored) = (open(file.clone(), Kind::Float), open(file.clone(), Kind::Float));
            let stored = stored.with_matrices_as_stored(|_| true);
            let [own_conv, stored_conv] =
                [&own, &stored].map(|map| Conv2d::open_strided(&map.root(), inputs, outputs, 3, stride, 1).unwrap());
            assert_eq!(own_conv.forward(&x).unwrap(), stored_conv.forward(&x).unwrap(), "{name}, stride {stride}");
            let ready = stored_conv.ready().unwrap();
            assert_eq!(ready.forward(&x).unwrap(), ready.forward(&x).unwrap());
            let (copied, viewed) = stored.taken_bytes();
            assert_eq!((copied, viewed), (0, (bytes.len() + bias.len()) as u64), "nothing of its own");
        }
    }
}

/// KiB of a file that this process has in memory.
#[cfg(target_os = "linux")]
fn resident(path: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines().skip_while(|line| !line.ends_with(path.to_str().unwrap()));
    let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
    rss.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn pages_that_are_let_go_of_leave_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let bytes = floats(&vec![0.5; 1 << 20]);
    let map = open(write(&path, &[("w", "F32", &[1 << 20], &bytes)], 0), Kind::Float);
    let nothing = map.pages();
    let weight = map.root().tensor("w", &[1 << 20]).unwrap();
    let pages = map.pages();
    for _ in 0..2 {
        assert!((weight.sum(Kind::Double).double_value(&[]) - 524_288.0).abs() < 1e-9);
        nothing.forget();
        assert!(resident(&path) >= 4096, "nothing was a view when it was asked for");
        pages.forget();
        assert!(resident(&path) < 64, "{}", resident(&path));
    }
}
