//! Hostile headers: every one is refused with a reason, and nothing is read or kept beyond the limits.

use std::io::{self, Read};
use std::path::Path;

use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;
use crate::{MAX_TENSORS, TensorInfo, TensorType};

/// A sound file: two matrices and a scalar, as the `safetensors` crate writes them.
fn sound() -> Vec<u8> {
    let (a, b, c) = ([1_u8; 24], [2_u8; 12], [3_u8; 8]);
    let views = [
        ("a", TensorView::new(Dtype::F32, vec![2, 3], &a).unwrap()),
        ("b", TensorView::new(Dtype::BF16, vec![3, 2], &b).unwrap()),
        ("c", TensorView::new(Dtype::I64, vec![], &c).unwrap()),
    ];
    safetensors::serialize(views, None).unwrap()
}

/// A file with this text for a header and `data` bytes after it.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<TensorInfo>> {
    contents(&mut &*bytes, bytes.len() as u64, Path::new("model.safetensors")).map(|contents| contents.tensors)
}

/// Why the file is refused.
fn refusal(bytes: &[u8]) -> String {
    read(bytes).expect_err("a hostile header was read").to_string()
}

fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

#[test]
fn a_sound_file_is_read_whole() {
    let bytes = sound();
    let tensors = read(&bytes).unwrap();
    let total: u64 = tensors.iter().map(|tensor| tensor.len).sum();
    assert_eq!(total, 44);
    assert_eq!(tensors.iter().map(|tensor| tensor.offset + tensor.len).max(), Some(bytes.len() as u64));
    let a = tensors.iter().find(|tensor| tensor.name == "a").unwrap();
    assert_eq!((a.dtype, a.shape.as_slice()), (TensorType::F32, [2, 3].as_slice()));
    let begin = usize::try_from(a.offset).unwrap();
    assert_eq!(bytes[begin..begin + 24], [1; 24]);
}

#[test]
fn a_file_cut_at_any_byte_is_refused_with_both_sizes() {
    let bytes = sound();
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    for cut in 0..bytes.len() {
        let Err(Error::Truncated { expected, found, .. }) = read(&bytes[..cut]) else {
            panic!("cut at {cut}: not refused as truncated");
        };
        assert_eq!(found, cut as u64);
        let promised = match cut as u64 {
            0..8 => 8,
            cut if cut < 8 + header_len => 8 + header_len,
            _ => bytes.len() as u64,
        };
        assert_eq!(expected, promised, "cut at {cut}");
    }
}

#[test]
fn bytes_that_belong_to_no_tensor_are_refused() {
    let mut bytes = sound();
    bytes.push(0);
    assert!(refusal(&bytes).contains("1 bytes after the last tensor"));
}

#[test]
fn offsets_that_do_not_fit_are_refused() {
    let cases = [
        (format!("{{{},{}}}", entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12)), 12, "overlaps"),
        (format!("{{{},{}}}", entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 0, 8)), 8, "overlaps"),
        (format!("{{{},{}}}", entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 12, 20)), 20, "gap"),
        (format!("{{{}}}", entry("a", "F32", "[2]", 4, 12)), 12, "gap"),
        (format!("{{{}}}", entry("a", "F32", "[2]", 0, 9)), 9, "takes 8"),
        (format!("{{{}}}", entry("a", "F32", "[3]", 0, 8)), 8, "takes 12"),
        (format!("{{{}}}", entry("a", "F32", "[2]", 8, 0)), 8, "8..0"),
        (format!("{{{}}}", entry("a", "U8", "[18446744073709551615]", 0, u64::MAX)), 8, "addressed"),
        (format!("{{{}}}", entry("a", "U8", "[9223372036854775807]", 0, i64::MAX as u64)), 8, "truncated"),
        (format!("{{{}}}", entry("a", "F32", "[4294967296,4294967296,2]", 0, 0)), 8, "addressed"),
        (format!("{{{}}}", entry("a", "F64", "[18446744073709551615]", 0, 8)), 8, "addressed"),
    ];
    for (header, data, reason) in cases {
        let told = refusal(&file(&header, data));
        assert!(told.contains(reason), "{header}: {told}");
        assert!(told.starts_with("model.safetensors"), "the file is not named: {told}");
    }
}

#[test]
fn headers_that_are_not_what_they_should_be_are_refused() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let unknown = format!(r#"{{"a":{{"{}":1}}}}"#, "x".repeat(1 << 20));
    let axes = format!("{{{}}}", entry("a", "U8", &format!("[{}1]", "1,".repeat(64)), 0, 1));
    let long = format!("{{{}}}", entry(&"n".repeat(4096), "U8", "[1]", 0, 1));
    let many = (0..=MAX_TENSORS).map(|i| entry(&i.to_string(), "U8", "[0]", 0, 0)).collect::<Vec<_>>().join(",");
    let cases = [
        (String::new(), "does not begin"),
        ("null".to_owned(), "does not begin"),
        (" {}".to_owned(), "does not begin"),
        ("{".to_owned(), "EOF"),
        ("{} x".to_owned(), "trailing"),
        (format!("{{{0},{0}}}", entry("a", "U8", "[1]", 0, 1)), "`a` stands twice"),
        (format!("{{{}}}", entry("a", "F4", "[1]", 0, 1)), "`F4`, which is not known"),
        (format!("{{{}}}", entry("a", "U8", "[-1]", 0, 1)), "invalid value"),
        (format!("{{{}}}", entry("a", "U8", "[1.0]", 0, 1)), "invalid type"),
        (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#.to_owned(), "trailing"),
        (r#"{"a":{"dtype":"U8","shape":[1]}}"#.to_owned(), "missing field `data_offsets`"),
        (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}}"#.to_owned(), "unknown field `extra`"),
        (deep, "header:"),
        (unknown, "unknown field"),
        (axes, "more than 16 axes"),
        (long, "4096 bytes"),
        (format!("{{{many}}}"), "more than 50000 tensors"),
    ];
    for (header, reason) in cases {
        let told = refusal(&file(&header, 1));
        assert!(told.contains(reason), "{}: {told}", &header[..header.len().min(80)]);
        assert!(told.len() < 400, "an error of {} bytes", told.len());
    }
}

#[test]
fn a_header_that_is_not_utf8_is_refused() {
    let mut bytes = file(r#"{"__metadata__":{"x":"ab"}}"#, 0);
    let place = bytes.iter().position(|byte| *byte == b'a').unwrap();
    bytes[place] = 0xff;
    assert!(refusal(&bytes).contains("not UTF-8"));
}

/// Endless bytes that count how many were taken.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0xff);
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn a_header_longer_than_the_limit_is_not_read() {
    let mut endless = Endless(0);
    let told = contents(&mut endless, u64::MAX, Path::new("huge")).unwrap_err().to_string();
    assert!(told.contains("at most"), "{told}");
    assert_eq!(endless.0, 8, "only the length may have been read");
}

#[test]
fn metadata_is_no_tensor() {
    let header = format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}   "#, entry("a", "U8", "[2]", 0, 2));
    let tensors = read(&file(&header, 2)).unwrap();
    assert_eq!(tensors.len(), 1);
    assert!(read(&file("{}", 0)).unwrap().is_empty());
    let bytes = file(&header, 2);
    let contents = contents(&mut &*bytes, bytes.len() as u64, Path::new("x")).unwrap();
    assert_eq!(contents.metadata.get("format").map(String::as_str), Some("pt"));
}

/// Whatever is read must be sound: whole, in order, inside the file.
fn assert_sound(bytes: &[u8]) {
    if let Ok(tensors) = read(bytes) {
        let mut next = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap());
        for tensor in tensors {
            assert_eq!(tensor.offset, next);
            assert_eq!(tensor.len, tensor.shape.iter().product::<u64>() * tensor.dtype.size());
            next += tensor.len;
        }
        assert_eq!(next, bytes.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_after_any_damage_is_sound(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = sound();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        assert_sound(&bytes);
    }

    #[test]
    fn what_is_read_of_any_offsets_is_sound(
        tensors in prop::collection::vec((0_u64..4, 0_u64..5, prop::collection::vec(0_u64..4, 0..3)), 0..4),
        data in 0_usize..24,
    ) {
        let entries = tensors.iter().enumerate().map(|(i, (begin, len, shape))| {
            entry(&i.to_string(), "U8", &format!("{shape:?}"), *begin, begin + len)
        });
        let header = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
        assert_sound(&file(&header, data));
    }
}
