//! Sizes in bytes as text: `512 B`, `64 KiB`, `25 MiB`, `1 GiB`.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use crate::byte_size;

/// Reads a size written as text.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size as text with its unit, such as \"64 KiB\" or \"25 MiB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
            let bytes = byte_size::parse(text).and_then(|bytes| usize::try_from(bytes).ok());
            bytes.ok_or_else(|| {
                E::custom(format!(
                    "`{text}` is no size: write a number with B, KiB, MiB, GiB or TiB, such as \"25 MiB\""
                ))
            })
        }
    }
    deserializer.deserialize_any(Text)
}
