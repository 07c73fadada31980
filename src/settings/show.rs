//! Every setting as it stands, and where it comes from.

use figment::value::Value;
use serde_json::json;

use super::Loaded;
use super::load::{describe, first_leaf};
use crate::secret::SecretRef;

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Its dotted key.
    pub key: String,
    /// Its value; a secret is the name of its variable.
    pub value: serde_json::Value,
    /// Where the value comes from.
    pub origin: String,
    /// For a secret: whether its variable is set.
    pub secret_set: Option<bool>,
}

impl Loaded {
    /// Every setting in the order of its key.
    pub fn show(&self) -> Vec<Shown> {
        let mut shown = Vec::new();
        if let Ok(root) = self.figment.find_value("") {
            self.walk("", &root, &mut shown);
        }
        shown
    }

    fn walk(&self, key: &str, value: &Value, shown: &mut Vec<Shown>) {
        if let Some(names) = secrets(value) {
            let secret_set = Some(names.iter().all(|name| SecretRef { env: (*name).to_owned() }.resolve().is_some()));
            let origin = self.describe(value, key);
            let mut references: Vec<_> = names.iter().map(|name| json!({ "env": name })).collect();
            let is_list = value.as_array().is_some();
            let value = if is_list { json!(references) } else { references.swap_remove(0) };
            shown.push(Shown { key: key.to_owned(), value, origin, secret_set });
            return;
        }
        if let Value::Dict(_, dict) = value {
            for (name, value) in dict {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                self.walk(&key, value, shown);
            }
            return;
        }
        let origin = self.describe(value, key);
        let value = if looks_secret(key) {
            json!("***")
        } else {
            serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
        };
        shown.push(Shown { key: key.to_owned(), value, origin, secret_set: None });
    }

    fn describe(&self, value: &Value, key: &str) -> String {
        self.figment.get_metadata(first_leaf(value).tag()).map(|metadata| describe(metadata, key)).unwrap_or_default()
    }
}

/// The variables that a secret, or a list of secrets, names.
fn secrets(value: &Value) -> Option<Vec<&str>> {
    fn secret(value: &Value) -> Option<&str> {
        let dict = value.as_dict().filter(|dict| dict.len() == 1)?;
        dict.get("env")?.as_str()
    }
    match value.as_array() {
        Some(items) if !items.is_empty() => items.iter().map(secret).collect(),
        Some(_) => None,
        None => secret(value).map(|name| vec![name]),
    }
}

/// A value under such a key should have been `{ env = "…" }`; it is not repeated.
fn looks_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).trim_end_matches('s');
    ["key", "token", "secret", "password"].iter().any(|word| last.ends_with(word))
}
