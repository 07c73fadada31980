//! What a walk reads from: bytes in memory, or base64 that is decoded a piece at a time, so that a picture that came as
//! base64 and leaves as base64 never lies in memory as a file.

use std::io::{self, BufRead, Read};

use base64_simd::{Out, STANDARD};

use super::Broken;

/// Letters that are decoded at a time: the bytes that come of them stay in the processor's cache.
const PIECE: usize = 32 << 10;

/// The file behind strict base64: the standard alphabet, padded, without line breaks.
pub(super) struct Base64Reader<'a> {
    rest: &'a [u8],
    decoded: Vec<u8>,
    /// How much of `decoded` was read.
    read: usize,
}

impl<'a> Base64Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text, decoded: Vec::new(), read: 0 }
    }
}

impl BufRead for Base64Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.decoded.len() && !self.rest.is_empty() {
            let (piece, rest) = self.rest.split_at(PIECE.min(self.rest.len()));
            self.decoded.resize(PIECE / 4 * 3, 0);
            let decoded = STANDARD.decode(piece, Out::from_slice(&mut self.decoded));
            // Padding within the text would be bytes that are missing.
            let length =
                decoded.ok().map(|bytes| bytes.len()).filter(|length| rest.is_empty() || *length == PIECE / 4 * 3);
            let length = length.ok_or(io::ErrorKind::InvalidData)?;
            self.decoded.truncate(length);
            (self.rest, self.read) = (rest, 0);
        }
        Ok(self.decoded.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.read = (self.read + amount).min(self.decoded.len());
    }
}

impl Read for Base64Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(available) {
            *to = *from;
        }
        self.consume(length);
        Ok(length)
    }
}

/// The words in which the formats read.
pub(super) trait Source: BufRead {
    /// The next `N` bytes.
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes).map_err(|error| broken(&error))?;
        Ok(bytes)
    }

    /// Goes over `length` bytes and shows all of them to `look`.
    fn pass(&mut self, mut length: u64, mut look: impl FnMut(&[u8])) -> Result<(), Broken> {
        while length > 0 {
            let available = self.available()?;
            let piece = available.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(available);
            let passed = piece.len();
            look(piece);
            self.consume(passed);
            length -= passed as u64;
        }
        Ok(())
    }

    /// What can be looked at now; never nothing.
    fn available(&mut self) -> Result<&[u8], Broken> {
        let available = self.fill_buf().map_err(|error| broken(&error))?;
        if available.is_empty() { Err(Broken::CutOff) } else { Ok(available) }
    }
}

impl<T: BufRead> Source for T {}

fn broken(error: &io::Error) -> Broken {
    if error.kind() == io::ErrorKind::InvalidData { Broken::NotBase64 } else { Broken::CutOff }
}
