//! Activations by the names that configs give them.

use super::reader::Reader;
use crate::Result;

/// An activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · σ(x)`.
    Silu,
    /// `x · tanh(softplus(x))`.
    Mish,
    /// `x · Φ(x)`, exact.
    Gelu,
    /// [`Activation::Gelu`] approximated with a hyperbolic tangent.
    GeluTanh,
    /// The same written out, as transformers does it for T5 (`gelu_new`): in single precision it rounds otherwise.
    GeluNew,
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(1.702 x)`: CLIP's approximation of [`Activation::Gelu`].
    QuickGelu,
}

impl Activation {
    /// The activation that a diffusers config names under this key; silu when the key is absent.
    pub fn read<'a>(reader: &mut Reader<'a>, key: &'a str) -> Result<Self> {
        match reader.text(key, "silu")?.to_ascii_lowercase().as_str() {
            "silu" | "swish" => Ok(Self::Silu),
            "mish" => Ok(Self::Mish),
            "gelu" => Ok(Self::Gelu),
            "relu" => Ok(Self::Relu),
            _ => Err(reader.unsupported(key, "silu, swish, mish, gelu and relu are supported")),
        }
    }

    /// [`Activation::read`] where null and absent mean none.
    pub fn read_optional<'a>(reader: &mut Reader<'a>, key: &'a str) -> Result<Option<Self>> {
        match reader.optional_text(key)? {
            None => Ok(None),
            Some(_) => Self::read(reader, key).map(Some),
        }
    }
}
