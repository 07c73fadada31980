//! Width and height, and their ratio.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A picture's size in pixels; neither side is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// Pixels across.
    pub width: NonZeroU32,
    /// Pixels down.
    pub height: NonZeroU32,
}

/// A ratio of width to height such as `16:9`; neither part is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AspectRatio {
    /// Parts across.
    pub width: NonZeroU32,
    /// Parts down.
    pub height: NonZeroU32,
}

impl ImageSize {
    /// A size; `None` when a side is 0.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        Some(Self { width: NonZeroU32::new(width)?, height: NonZeroU32::new(height)? })
    }

    /// Pixels in all.
    pub fn pixels(self) -> u64 {
        u64::from(self.width.get()) * u64::from(self.height.get())
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl fmt::Display for AspectRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.width, self.height)
    }
}

/// The two numbers around one separator, in canonical decimal digits.
fn pair(text: &str, separator: char) -> Option<(NonZeroU32, NonZeroU32)> {
    let (left, right) = text.split_once(separator)?;
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    Some((digits(left)?, digits(right)?))
}

impl FromStr for ImageSize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (width, height) = pair(text, 'x').ok_or(())?;
        Ok(Self { width, height })
    }
}

impl FromStr for AspectRatio {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (width, height) = pair(text, ':').ok_or(())?;
        Ok(Self { width, height })
    }
}
