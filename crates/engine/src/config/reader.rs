//! Reads a JSON object key by key and knows at the end which keys nobody read.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// The largest number that a dimension or a count can sensibly have; more would only overflow later.
const MAX_COUNT: i64 = 1 << 24;

/// Reads a component's config. Absent keys take the default that the class has in diffusers; `null` is a
/// value of its own and only allowed where the class allows it.
#[derive(Debug)]
pub struct Reader<'a> {
    component: &'a str,
    map: &'a Map<String, Value>,
    read: HashSet<&'a str>,
}

impl<'a> Reader<'a> {
    /// `component` is how errors call it.
    pub fn new(component: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { component, map, read: HashSet::new() }
    }

    /// An error about this config.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::broken(format!("{}: {message}", self.component))
    }

    /// An error about a key that is set to something that is not supported.
    pub fn unsupported(&self, key: &str, what: impl std::fmt::Display) -> Error {
        let found = self.map.get(key).unwrap_or(&Value::Null);
        self.error(format!("{key} is {found} in the config, {what}"))
    }

    /// The value of a key, `None` when it is absent. Marks the key as read.
    pub fn value(&mut self, key: &'a str) -> Option<&'a Value> {
        self.read.insert(key);
        self.map.get(key)
    }

    /// Marks keys that change nothing in what is computed.
    pub fn no_effect(&mut self, keys: &[&'a str]) {
        self.read.extend(keys);
    }

    /// Refuses a key that is set to anything but null or false, or this value.
    pub fn only(&mut self, key: &'a str, allowed: &Value) -> Result<()> {
        match self.value(key) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(()),
            Some(value) if value == allowed => Ok(()),
            Some(_) => Err(self.unsupported(key, format!("only {allowed} is supported"))),
        }
    }

    /// A switch.
    pub fn flag(&mut self, key: &'a str, default: bool) -> Result<bool> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.unsupported(key, "true or false is needed")),
        }
    }

    /// A number.
    pub fn float(&mut self, key: &'a str, default: f64) -> Result<f64> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.unsupported(key, "a number is needed")),
        }
    }

    /// A number, or null.
    pub fn optional_float(&mut self, key: &'a str) -> Result<Option<f64>> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.float(key, 0.0).map(Some),
        }
    }

    /// Numbers, or null.
    pub fn optional_floats(&mut self, key: &'a str) -> Result<Option<Vec<f64>>> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(values)) => values
                .iter()
                .map(Value::as_f64)
                .collect::<Option<Vec<f64>>>()
                .map(Some)
                .ok_or_else(|| self.unsupported(key, "a list of numbers is needed")),
            Some(_) => Err(self.unsupported(key, "a list of numbers is needed")),
        }
    }

    /// A whole number from `least` up.
    pub fn count(&mut self, key: &'a str, default: i64, least: i64) -> Result<i64> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => as_count(value, least)
                .ok_or_else(|| self.unsupported(key, format!("a whole number from {least} up is needed"))),
        }
    }

    /// A whole number above 0 that has no default.
    pub fn needed(&mut self, key: &'a str) -> Result<i64> {
        match self.value(key) {
            None => Err(self.error(format!("{key} is missing from the config"))),
            Some(_) => self.count(key, 0, 1),
        }
    }

    /// A whole number above 0, or null.
    pub fn optional_count(&mut self, key: &'a str) -> Result<Option<i64>> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.count(key, 0, 1).map(Some),
        }
    }

    /// A word.
    pub fn text(&mut self, key: &'a str, default: &'static str) -> Result<&'a str> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.unsupported(key, "a text is needed")),
        }
    }

    /// A word, or null.
    pub fn optional_text(&mut self, key: &'a str) -> Result<Option<&'a str>> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(key, "").map(Some),
        }
    }

    /// Words.
    pub fn texts(&mut self, key: &'a str, default: &[&'static str]) -> Result<Vec<&'a str>> {
        match self.value(key) {
            None => Ok(default.to_vec()),
            Some(value) => value
                .as_array()
                .and_then(|values| values.iter().map(Value::as_str).collect())
                .ok_or_else(|| self.unsupported(key, "a list of texts is needed")),
        }
    }

    /// Whole numbers above 0.
    pub fn counts(&mut self, key: &'a str, default: &[i64]) -> Result<Vec<i64>> {
        match self.value(key) {
            None => Ok(default.to_vec()),
            Some(value) => value
                .as_array()
                .and_then(|values| values.iter().map(|value| as_count(value, 1)).collect())
                .ok_or_else(|| self.unsupported(key, "a list of whole numbers is needed")),
        }
    }

    /// One value for each of `levels`: a single one is repeated, a list must have that many. `None` when the
    /// key is absent.
    pub fn per_level(&mut self, key: &'a str, levels: usize) -> Result<Option<Vec<&'a Value>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(values)) if values.len() == levels => Ok(Some(values.iter().collect())),
            Some(Value::Array(values)) => Err(self.error(format!(
                "{key} has {} entries in the config, {levels} are needed: one for each block",
                values.len()
            ))),
            Some(value) => Ok(Some(vec![value; levels])),
        }
    }

    /// [`Reader::per_level`] for whole numbers from `least` up.
    pub fn counts_per_level(&mut self, key: &'a str, levels: usize, default: i64, least: i64) -> Result<Vec<i64>> {
        let Some(values) = self.per_level(key, levels)? else {
            return Ok(vec![default; levels]);
        };
        values
            .into_iter()
            .map(|value| as_count(value, least))
            .collect::<Option<_>>()
            .ok_or_else(|| self.unsupported(key, format!("whole numbers from {least} up are needed")))
    }

    /// Keys that nobody has read, that are not null and not a note of the library's own (`_class_name`).
    pub fn unread(&self) -> Vec<&'a str> {
        self.map
            .iter()
            .filter(|(key, value)| !value.is_null() && !key.starts_with('_') && !self.read.contains(key.as_str()))
            .map(|(key, _)| key.as_str())
            .collect()
    }

    /// Refuses the config when it has keys that nobody has read.
    pub fn finish(self) -> Result<()> {
        match self.unread().as_slice() {
            [] => Ok(()),
            keys => Err(self.error(format!("the config sets {}, which is not supported", keys.join(", ")))),
        }
    }
}

/// A whole number from `least` up, also when it is written as `4.0`.
pub fn as_count(value: &Value, least: i64) -> Option<i64> {
    let whole = value.as_i64().or_else(|| {
        let float = value.as_f64()?;
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of this size is exact in both")]
        (float.fract() == 0.0 && float.abs() <= 16_777_216.0).then_some(float as i64)
    })?;
    (least..=MAX_COUNT).contains(&whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Reader;

    fn object(value: Value) -> serde_json::Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object: {value}") };
        map
    }

    #[test]
    fn unread_keys_are_refused_by_name() {
        let map = object(json!({"a": 1, "wings": 2, "empty": null, "_note": 3}));
        let mut reader = Reader::new("unet", &map);
        assert_eq!(reader.count("a", 0, 1).unwrap(), 1);
        let error = reader.finish().unwrap_err();
        assert_eq!(error.to_string(), "unet: the config sets wings, which is not supported");
    }

    #[test]
    fn null_is_not_a_default() {
        let map = object(json!({"groups": null}));
        let error = Reader::new("vae", &map).count("groups", 32, 1).unwrap_err();
        assert_eq!(error.to_string(), "vae: groups is null in the config, a whole number from 1 up is needed");
    }

    #[test]
    fn one_value_serves_all_levels_and_a_list_must_fit() {
        let map = object(json!({"layers": 2, "heads": [1, 2]}));
        let mut reader = Reader::new("unet", &map);
        assert_eq!(reader.counts_per_level("layers", 3, 9, 1).unwrap(), [2, 2, 2]);
        assert_eq!(reader.counts_per_level("absent", 2, 9, 1).unwrap(), [9, 9]);
        let error = reader.counts_per_level("heads", 3, 9, 1).unwrap_err().to_string();
        assert_eq!(error, "unet: heads has 2 entries in the config, 3 are needed: one for each block");
    }

    #[test]
    fn only_lets_through_off_and_the_one_value() {
        let map = object(json!({"a": false, "b": "default", "c": "gated"}));
        let mut reader = Reader::new("unet", &map);
        reader.only("a", &json!("default")).unwrap();
        reader.only("b", &json!("default")).unwrap();
        reader.only("missing", &json!("default")).unwrap();
        assert!(reader.only("c", &json!("default")).unwrap_err().to_string().contains("gated"));
    }
}
