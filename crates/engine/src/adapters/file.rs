//! An adapter file: its tensors by layer, its alphas, and what it says about itself. Reads headers through the catalogue,
//! the scalars that scale a layer, and the `adapter_config.json` that PEFT puts beside a file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use easel_catalog::{TensorFile, TensorInfo, TensorType};
use easel_engine_protocol::EngineErrorKind;
use serde_json::{Map, Value};
use tch::{Device, Kind};

use super::digest::{self, FileDigest};
use super::piece::{self, Piece};
use crate::parts::{Form, Part, PartTensor};
use crate::weights::WeightMap;
use crate::{Error, Result};

/// PEFT's settings are some hundred bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Where diffusers keeps PEFT's settings: a JSON text in the header.
const METADATA_KEY: &str = "lora_adapter_metadata";

/// An adapter file whose header has been read.
#[derive(Debug)]
pub struct AdapterFile {
    file: Arc<TensorFile>,
    digest: FileDigest,
    settings: Map<String, Value>,
}

/// A layer as the file has it: its tensors by what they are.
pub type Pieces<'a> = BTreeMap<Piece, &'a TensorInfo>;

impl AdapterFile {
    /// Reads the header of a file and the digest of its bytes.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            let message = format!("there is no adapter at {}", path.display());
            return Err(Error::new(EngineErrorKind::ModelNotFound, message));
        }
        let file = TensorFile::open(path).map_err(|error| Error::from(error).within("adapter"))?;
        let unread = |error| Error::broken(format!("adapter: {}: {error}", path.display()));
        let digest = digest::of(path).map_err(unread)?;
        let settings = match file.metadata.get(METADATA_KEY) {
            Some(text) => {
                let Ok(Value::Object(settings)) = serde_json::from_str(text) else {
                    let message = format!("adapter: {}: {METADATA_KEY} is not a JSON object", path.display());
                    return Err(Error::broken(message));
                };
                settings
            }
            None => beside(path)?,
        };
        Ok(Self { file: Arc::new(file), digest, settings })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> FileDigest {
        self.digest
    }

    /// What it says about itself in its header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.file.metadata
    }

    /// Its tensors by layer, and the names of those that no kind of adapter has.
    pub fn layers(&self) -> Result<(BTreeMap<String, Pieces<'_>>, Vec<&str>)> {
        let mut layers = BTreeMap::<String, Pieces<'_>>::new();
        let mut strange = Vec::new();
        for tensor in &self.file.tensors {
            let Some((layer, piece)) = piece::split(&tensor.name) else {
                strange.push(tensor.name.as_str());
                continue;
            };
            let pieces = layers.entry(layer).or_default();
            // OFT and its kin have several tensors of a sort, which are refused together.
            if pieces.insert(piece, tensor).is_some() && !matches!(piece, Piece::Other(_)) {
                return Err(self.broken(format!("{} is there in two spellings", tensor.name)));
            }
        }
        Ok((layers, strange))
    }

    /// What PEFT's settings say of a layer of a component, if there are any: its alpha, and whether the rank counts by its
    /// root (`use_rslora`). Keys of diffusers begin with the component's name.
    pub fn setting_of(&self, component: &str, layer: &str) -> (Option<f64>, bool) {
        let get = |key: &str| {
            self.settings.get(&format!("{component}.{key}")).or_else(|| self.settings.get(key)).filter(|v| !v.is_null())
        };
        let pattern = get("alpha_pattern").and_then(Value::as_object);
        // As PEFT looks a layer up: the first key that is the end of its name.
        let special = pattern.and_then(|pattern| {
            pattern.iter().find(|(key, _)| ends_in(layer, key)).and_then(|(_, alpha)| alpha.as_f64())
        });
        let alpha = special.or_else(|| get("lora_alpha").and_then(Value::as_f64));
        (alpha, get("use_rslora").and_then(Value::as_bool).unwrap_or(false))
    }

    /// The number in a tensor of one element, whatever its type.
    pub fn scalar(&self, tensor: &TensorInfo) -> Result<f64> {
        if tensor.shape.iter().product::<u64>() != 1 {
            return Err(self.broken(format!("{} has shape {:?}, one number is needed", tensor.name, tensor.shape)));
        }
        let mut bytes = [0; 8];
        let len = usize::try_from(tensor.len).ok().filter(|&len| len <= bytes.len());
        let slice = len.and_then(|len| bytes.get_mut(..len));
        let read = |into: &mut [u8]| -> std::io::Result<()> {
            let mut file = File::open(&self.file.path)?;
            file.seek(SeekFrom::Start(tensor.offset))?;
            file.read_exact(into)
        };
        let Some(slice) = slice else { return Err(self.broken(format!("{} is too large", tensor.name))) };
        read(slice).map_err(|error| self.broken(error.to_string()))?;
        number(tensor.dtype, bytes)
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.broken(format!("{} is not a finite number that can be read", tensor.name)))
    }

    /// Its tensors, in single precision.
    pub(super) fn weights(&self, device: Device) -> Result<WeightMap> {
        let tensors = self.file.tensors.iter().map(|info| PartTensor {
            name: info.name.clone(),
            file: Arc::clone(&self.file),
            info: info.clone(),
            form: Form::Whole,
        });
        let (name, class) = (format!("adapter {}", self.path().display()), String::new());
        let part = Part { name, class, config: Map::new(), tensors: tensors.collect(), patches: None };
        WeightMap::of(&part, device, Kind::Float)
    }

    /// An error about this file.
    pub(super) fn broken(&self, message: impl std::fmt::Display) -> Error {
        Error::broken(format!("adapter {}: {message}", self.path().display()))
    }
}

/// The settings that PEFT writes beside `adapter_model.safetensors`.
fn beside(path: &Path) -> Result<Map<String, Value>> {
    let is_peft = path.file_stem().is_some_and(|stem| stem == "adapter_model");
    let config = path.with_file_name("adapter_config.json");
    if !is_peft || !config.is_file() {
        return Ok(Map::new());
    }
    let broken = |reason: String| Error::broken(format!("adapter: {}: {reason}", config.display()));
    let mut text = String::new();
    File::open(&config)
        .and_then(|file| file.take(MAX_CONFIG_BYTES).read_to_string(&mut text))
        .map_err(|error| broken(error.to_string()))?;
    if fs::metadata(&config).is_ok_and(|metadata| metadata.len() > MAX_CONFIG_BYTES) {
        return Err(broken(format!("more than {MAX_CONFIG_BYTES} bytes")));
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(settings)) => Ok(settings),
        Ok(_) => Err(broken("not a JSON object".to_owned())),
        Err(error) => Err(broken(error.to_string())),
    }
}

/// Whether a pattern of PEFT means this layer: the name, or its end after a dot. PEFT takes patterns as regular
/// expressions; those that are written are names, at most with `^` before them.
fn ends_in(layer: &str, pattern: &str) -> bool {
    let plain = pattern.trim_end_matches('$').replace("\\.", ".");
    match plain.strip_prefix('^') {
        Some(whole) => layer == whole,
        None => layer.strip_suffix(&plain).is_some_and(|before| before.is_empty() || before.ends_with('.')),
    }
}

/// A number of this type from the first of eight little-endian bytes.
fn number(dtype: TensorType, bytes: [u8; 8]) -> Option<f64> {
    let [a, b, c, d, ..] = bytes;
    let half = u16::from_le_bytes([a, b]);
    #[expect(clippy::wildcard_enum_match_arm, reason = "no trainer writes a scale in another type")]
    #[expect(clippy::cast_precision_loss, reason = "a scale is a small number")]
    Some(match dtype {
        TensorType::F64 => f64::from_le_bytes(bytes),
        TensorType::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
        TensorType::BF16 => f64::from(f32::from_bits(u32::from(half) << 16)),
        TensorType::F16 => from_half(half),
        TensorType::I64 => i64::from_le_bytes(bytes) as f64,
        TensorType::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
        TensorType::I16 => f64::from(half.cast_signed()),
        TensorType::I8 => f64::from(a.cast_signed()),
        TensorType::U8 => f64::from(a),
        _ => return None,
    })
}

/// A number in half precision (IEEE 754 binary16).
fn from_half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    match exponent {
        0 => sign * fraction * 2_f64.powi(-14),
        0x1f => f64::NAN,
        _ => sign * (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use easel_catalog::TensorType;

    use super::{ends_in, number};

    #[test]
    fn numbers_of_every_type() {
        let of = |dtype, bytes: &[u8]| {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            number(dtype, eight)
        };
        for (value, bits) in [(16.0, 0x4c00_u16), (-0.5, 0xb800), (2_f64.powi(-24), 1), (1.5, 0x3e00)] {
            assert_eq!(of(TensorType::F16, &bits.to_le_bytes()), Some(value));
        }
        assert!(of(TensorType::F16, &0x7c00_u16.to_le_bytes()).unwrap().is_nan());
        assert_eq!(of(TensorType::BF16, &0x3fc0_u16.to_le_bytes()), Some(1.5));
        assert_eq!(of(TensorType::I64, &16_i64.to_le_bytes()), Some(16.0));
        assert_eq!(of(TensorType::F32, &0.25_f32.to_le_bytes()), Some(0.25));
        assert_eq!(of(TensorType::Bool, &[1]), None);
    }

    #[test]
    fn patterns_mean_ends_of_names() {
        assert!(ends_in("down.0.attn1.to_q", "attn1.to_q"));
        assert!(ends_in("to_q", "to_q"));
        assert!(!ends_in("add_to_q", "to_q"));
        assert!(ends_in("a.to_q", "^a\\.to_q$"));
        assert!(!ends_in("b.a.to_q", "^a.to_q"));
    }
}
