//! Numbered places in names, in the order of their numbers.

use std::collections::BTreeMap;

use super::Shapes;

/// Splits `12.rest` at its number.
pub(super) fn number(name: &str) -> Option<(usize, &str)> {
    let (number, rest) = name.split_once('.')?;
    // `+1` and `01` would parse, but are nobody's.
    if number.is_empty() || number.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, rest))
}

/// What follows each `prefix<number>.`, by number.
pub(super) fn numbered<'a>(names: &'a Shapes, prefix: &str) -> BTreeMap<usize, Vec<&'a str>> {
    let mut found = BTreeMap::<usize, Vec<&str>>::new();
    for name in names.keys() {
        if let Some((number, rest)) = name.strip_prefix(prefix).and_then(number) {
            found.entry(number).or_default().push(rest);
        }
    }
    found
}

/// [`numbered`] once more, of names that have already been cut.
pub(super) fn numbered_again<'a>(names: &[&'a str]) -> BTreeMap<usize, Vec<&'a str>> {
    let mut found = BTreeMap::<usize, Vec<&str>>::new();
    for name in names {
        if let Some((number, rest)) = number(name) {
            found.entry(number).or_default().push(rest);
        }
    }
    found
}

/// Replaces the beginning of a name: `from` where it stands alone or before a dot.
pub(super) fn replaced(name: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(from, to)| {
        let rest = name.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
    })
}
