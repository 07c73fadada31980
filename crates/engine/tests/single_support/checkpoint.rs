//! Checkpoints as `torch.save` has written them since 1.6: a zip of a pickle and of one file for each storage.

use std::io::Write;
use std::path::Path;

use super::{Stored, Tensors};

/// Writes the tensors under `state_dict`, as trainers do.
pub fn write(path: &Path, tensors: &Tensors) {
    let mut pickle = b"\x80\x02}".to_vec();
    text(&mut pickle, "state_dict");
    pickle.extend(b"}(");
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        text(&mut pickle, name);
        rebuilt(&mut pickle, key, tensor);
    }
    pickle.extend(b"us.");
    let mut entries =
        vec![("archive/data.pkl".to_owned(), pickle), ("archive/byteorder".to_owned(), b"little".to_vec())];
    for (key, tensor) in tensors.values().enumerate() {
        entries.push((format!("archive/data/{key}"), tensor.bytes.clone().expect("bytes")));
    }
    entries.push(("archive/version".to_owned(), b"3\n".to_vec()));
    std::fs::write(path, zip(&entries)).unwrap();
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn number(pickle: &mut Vec<u8>, number: u64) {
    pickle.push(b'J');
    pickle.extend(i32::try_from(number).unwrap().to_le_bytes());
}

/// `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
fn rebuilt(pickle: &mut Vec<u8>, key: usize, tensor: &Stored) {
    let storage = match tensor.dtype {
        "F32" => "FloatStorage",
        "F16" => "HalfStorage",
        "BF16" => "BFloat16Storage",
        other => panic!("{other}"),
    };
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(pickle, "storage");
    pickle.extend(format!("ctorch\n{storage}\n").bytes());
    text(pickle, &key.to_string());
    text(pickle, "cpu");
    number(pickle, tensor.shape.iter().product());
    pickle.extend(b"tQ");
    number(pickle, 0);
    let strides = (0..tensor.shape.len()).map(|axis| tensor.shape[axis + 1..].iter().product());
    for numbers in [tensor.shape.clone(), strides.collect()] {
        pickle.push(b'(');
        for n in numbers {
            number(pickle, n);
        }
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}

/// A zip whose entries lie as they are.
fn zip(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let [at, length] = [out.len(), bytes.len()].map(|n| u32::try_from(n).unwrap().to_le_bytes());
        let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
        // What both records of an entry have in common: version, flags, method, time, checksum, lengths.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc32(bytes).to_le_bytes());
        common.extend([length, length].concat());
        common.extend(name_length);
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.write_all(bytes).unwrap();
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(common);
        directory.extend([0; 10]);
        directory.extend(at);
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let [begins, length] = [out.len(), directory.len()].map(|n| u32::try_from(n).unwrap().to_le_bytes());
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend([length, begins].concat());
    out.extend([0, 0]);
    out
}

/// The checksum of zip files, a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}
