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
    match serde_json::from_slice(&text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::malformed(path, "not a JSON object")),
        Err(error) => Err(Error::malformed(path, format!("not JSON: {error}"))),
    }
}
