//! Sizes in bytes as people write them: `512 B`, `64 KiB`, `25 MiB`, `1 GiB`, `2 TiB`. One reading for all settings.

/// The bytes; `None` where the text is no whole number with one of these units.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_number_and_a_unit_are_needed() {
        assert_eq!(parse("25 MiB"), Some(25 << 20));
        assert_eq!(parse(" 2TiB "), Some(2 << 40));
        assert_eq!(parse("0 B"), Some(0));
        for text in ["", "25", "MiB", "-1 B", "1 MB", "1.5 GiB", "99999999999999999999 B", "99999999999 TiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
