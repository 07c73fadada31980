//! Long strings are lifted out of a JSON text before it is parsed, so that megabytes of base64 are looked at once, by the
//! fastest search there is, and neither checked for UTF-8 nor copied. Everything else is left to the parser.

use bytes::Bytes;

/// Strings from this length on are lifted.
const LONG: usize = 4 << 10;

/// What stands in the place of a lifted string: this and its number. No picture begins so.
const MARK: char = '\u{1}';

/// A JSON text without its long strings, and those strings.
pub struct Lifted<'a> {
    /// The text that is left; as much JSON as the original is.
    pub text: Vec<u8>,
    body: &'a Bytes,
    strings: Vec<&'a [u8]>,
}

impl<'a> Lifted<'a> {
    /// Lifts the strings of `body` that are long and hold no escapes.
    pub fn new(body: &'a Bytes) -> Self {
        let mut lifted = Self { text: Vec::new(), body, strings: Vec::new() };
        let mut copied = 0;
        let mut at = 0;
        while let Some(string) = next_string(body, at) {
            if string.bytes.len() >= LONG && !string.has_escapes {
                lifted.text.extend_from_slice(body.get(copied..string.start).unwrap_or_default());
                lifted.text.extend_from_slice(format!("\\u{:04x}{}", u32::from(MARK), lifted.strings.len()).as_bytes());
                lifted.strings.push(string.bytes);
                copied = string.end;
            }
            at = string.end + 1;
        }
        lifted.text.extend_from_slice(body.get(copied..).unwrap_or_default());
        lifted
    }

    /// The string as it stood in the original: `parsed`, or the one that `parsed` stands for.
    pub fn original<'b>(&self, parsed: &'b str) -> &'b [u8]
    where
        'a: 'b,
    {
        let number = parsed.strip_prefix(MARK).and_then(|number| number.parse::<usize>().ok());
        number.and_then(|number| self.strings.get(number).copied()).unwrap_or(parsed.as_bytes())
    }

    /// The same, sharing the memory of the body where that holds it.
    pub fn shared(&self, parsed: &str) -> Bytes {
        let original = self.original(parsed);
        let within = |part: &[u8]| self.body.as_ptr_range().contains(&part.as_ptr());
        if within(original) { self.body.slice_ref(original) } else { Bytes::copy_from_slice(original) }
    }
}

/// A string of a JSON text, without its quotes.
struct Found<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
    has_escapes: bool,
}

/// The next string at or after `from`; `None` when there is none that ends.
fn next_string(body: &[u8], from: usize) -> Option<Found<'_>> {
    // Outside of strings, a quote can only begin one.
    let start = from + memchr::memchr(b'"', body.get(from..)?)? + 1;
    let mut end = start;
    let mut has_escapes = false;
    loop {
        end += memchr::memchr2(b'"', b'\\', body.get(end..)?)?;
        if body.get(end) == Some(&b'"') {
            return Some(Found { bytes: body.get(start..end)?, start, end, has_escapes });
        }
        has_escapes = true;
        end += 2;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{LONG, Lifted};

    /// The value with every lifted string put back.
    fn put_back(lifted: &Lifted<'_>, value: Value) -> Value {
        match value {
            Value::String(text) => Value::from(String::from_utf8_lossy(lifted.original(&text)).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| put_back(lifted, item)).collect(),
            Value::Object(fields) => fields.into_iter().map(|(name, item)| (name, put_back(lifted, item))).collect(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
        }
    }

    #[test]
    fn only_long_strings_without_escapes_are_lifted() {
        let (long, escaped) = ("A".repeat(LONG), format!("{}\n", "B".repeat(LONG)));
        let value = json!({ "a": long, "b": "short", "c": escaped, "d": [long, "\u{1}0"], "e": "\\\"" });
        let text = value.to_string();
        let body = Bytes::from(text.clone());
        let lifted = Lifted::new(&body);
        assert_eq!(lifted.strings.len(), 2);
        assert!(lifted.text.len() < 2 * LONG);
        let parsed = serde_json::from_slice::<Value>(&lifted.text).unwrap();
        assert_eq!(parsed["c"], value["c"]);
        assert_eq!(lifted.original(parsed["d"][0].as_str().unwrap()), long.as_bytes());
    }

    #[test]
    fn text_that_is_cut_stays_so() {
        let text = json!({ "a": "A".repeat(LONG), "b": ["B".repeat(2 * LONG)] }).to_string();
        for length in (0..text.len()).step_by(101) {
            let body = Bytes::copy_from_slice(&text.as_bytes()[..length]);
            let lifted = Lifted::new(&body);
            assert!(serde_json::from_slice::<Value>(&lifted.text).is_err(), "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn nothing_is_lost(parts in prop::collection::vec((".{0,12}", 0..2_usize), 0..8)) {
            let items = parts.iter().map(|(text, long)| format!("{text}{}", "x".repeat(long * LONG)));
            // The mark alone is the lifter's own.
            let items: Vec<Value> = items.filter(|text| !text.starts_with('\u{1}')).map(Value::from).collect();
            let value = json!({ "items": items });
            let text = value.to_string();
            let body = Bytes::from(text.clone());
            let lifted = Lifted::new(&body);
            let parsed = serde_json::from_slice(&lifted.text).unwrap();
            prop_assert_eq!(put_back(&lifted, parsed), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"\"\\{}:,[]ax\xff".to_vec()), 0..64)) {
            let body = Bytes::from(bytes.clone());
            let lifted = Lifted::new(&body);
            prop_assert_eq!(lifted.text, bytes);
        }
    }
}
