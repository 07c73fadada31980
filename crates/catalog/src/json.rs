//! JSON objects from files, with a limit on their size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// Reads the object that the file holds; `why` says who needs the file when it is not there.
pub(crate) fn read_object(path: &Path, max_bytes: u64, why: &str) -> Result<Map<String, Value>> {
    let file = File::open(path).map_err(Error::open(path, why))?;
    let mut text = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut text).map_err(Error::io(path))?;
    if text.len() as u64 > max_bytes {
        return Err(Error::malformed(path, format!("more than {max_bytes} bytes of JSON")));
    }
    match serde_json::from_slice(&quote_python_numbers(text)) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::malformed(path, "not a JSON object")),
        Err(error) => Err(Error::malformed(path, format!("not JSON: {error}"))),
    }
}

/// The three numbers that Python writes though JSON has them not, as texts: every `DPMSolverMultistepScheduler` that diffusers
/// saves holds `"lambda_min_clipped": -Infinity`.
fn quote_python_numbers(text: Vec<u8>) -> Vec<u8> {
    const NUMBERS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    if !text.windows(3).any(|three| three == b"Inf" || three == b"NaN") {
        return text;
    }
    let mut quoted = Vec::with_capacity(text.len() + 16);
    let (mut rest, mut in_text) = (text.as_slice(), false);
    while let Some((&byte, after)) = rest.split_first() {
        if !in_text && let Some(number) = NUMBERS.into_iter().find(|number| rest.starts_with(number)) {
            quoted.push(b'"');
            quoted.extend_from_slice(number);
            quoted.push(b'"');
            rest = rest.get(number.len()..).unwrap_or_default();
            continue;
        }
        quoted.push(byte);
        rest = after;
        match (byte, after.split_first()) {
            (b'"', _) => in_text = !in_text,
            (b'\\', Some((&escaped, after))) if in_text => {
                quoted.push(escaped);
                rest = after;
            }
            _ => {}
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::quote_python_numbers;

    #[test]
    fn numbers_of_python_become_texts() {
        let read = |text: &str| String::from_utf8(quote_python_numbers(text.into())).unwrap();
        assert_eq!(read(r#"{"a": -Infinity, "b":[Infinity,NaN]}"#), r#"{"a": "-Infinity", "b":["Infinity","NaN"]}"#);
        let untouched = r#"{"a": "NaN \" Infinity", "b\\": "-Infinity"}"#;
        assert_eq!(read(untouched), untouched);
        assert_eq!(read(r#"{"b\\": NaN}"#), r#"{"b\\": "NaN"}"#);
    }
}
