//! Sizes in bytes as text: `512 B`, `64 KiB`, `25 MiB`, `1 GiB`.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

/// Reads a size written as text.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size as text with its unit, such as \"64 KiB\" or \"25 MiB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
            parse(text).ok_or_else(|| {
                E::custom(format!("`{text}` is no size: write a number with B, KiB, MiB or GiB, such as \"25 MiB\""))
            })
        }
    }
    deserializer.deserialize_any(Text)
}

fn parse(text: &str) -> Option<usize> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let bytes: usize = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_their_unit() {
        assert_eq!(parse("25 MiB"), Some(25 << 20));
        assert_eq!(parse("64KiB"), Some(64 << 10));
        for text in ["", "25", "MiB", "-1 B", "1 MB", "99999999999999999999 B"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
