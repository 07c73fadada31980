//! The bytes of a pickle, taken from the front. Every length is checked against what is left before it is believed.

use super::limits;
use super::value::Span;

/// Where the machine is in the bytes.
pub(super) struct Reader<'p> {
    bytes: &'p [u8],
    pub position: usize,
}

/// Why a pickle is refused, without the name of its file.
pub(crate) type Refusal = String;

impl<'p> Reader<'p> {
    pub fn new(bytes: &'p [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    fn take(&mut self, len: usize) -> Result<&'p [u8], Refusal> {
        let taken = self.position.checked_add(len).and_then(|end| self.bytes.get(self.position..end));
        let Some(taken) = taken else {
            let left = self.bytes.len().saturating_sub(self.position);
            return Err(format!("the pickle ends early: {len} bytes wanted at byte {}, {left} left", self.position));
        };
        self.position += len;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn byte(&mut self) -> Result<u8, Refusal> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A span of this many bytes; `what` is for errors.
    pub fn span(&mut self, len: u64, what: &str) -> Result<Span, Refusal> {
        let left = self.bytes.len().saturating_sub(self.position) as u64;
        if len > left {
            return Err(format!("{what} of {len} bytes at byte {}, where {left} are left", self.position));
        }
        if len > limits::TEXT {
            return Err(format!("{what} of {len} bytes at byte {}, at most {} are read", self.position, limits::TEXT));
        }
        let too_far = |_| "more bytes than can be counted".to_owned();
        let start = u32::try_from(self.position).map_err(too_far)?;
        let len = u32::try_from(len).map_err(too_far)?;
        self.take(len as usize)?;
        Ok(Span { start, len })
    }

    /// Everything up to the end of the line, which is taken too.
    pub fn line(&mut self) -> Result<Span, Refusal> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(len) = rest.iter().take(4096).position(|byte| *byte == b'\n') else {
            return Err(format!("a line without an end at byte {}", self.position));
        };
        let span = self.span(len as u64, "a line")?;
        self.position += 1;
        Ok(span)
    }
}
