//! The names by which people ask for the engine's schedulers, as keys of a `scheduler_config.json`.

use serde_json::{Map, Value};

/// The engine's class, by diffusers' name. It keeps the model's own keys.
const CLASS: &str = "EulerDiscreteScheduler";

/// What people call it, and which noise levels it uses.
const NAMES: [(&str, Option<&str>); 4] = [
    ("Euler", None),
    ("Euler Karras", Some("use_karras_sigmas")),
    ("Euler Exponential", Some("use_exponential_sigmas")),
    ("Euler Beta", Some("use_beta_sigmas")),
];

/// The keys that select the scheduler of this name; `None` when there is none. Case, spaces, `-` and `_` do not matter.
pub(super) fn keys(name: &str) -> Option<Map<String, Value>> {
    let mut keys = Map::from_iter([("_class_name".to_owned(), Value::from(CLASS))]);
    if folded(name) == folded(CLASS) {
        return Some(keys);
    }
    let (_, wished) = NAMES.iter().find(|(known, _)| folded(known) == folded(name))?;
    if wished.is_some() {
        // A model's own choice must not stay beside the wished one.
        let all = NAMES.iter().filter_map(|(_, sigmas)| *sigmas);
        keys.extend(all.map(|sigmas| (sigmas.to_owned(), Value::from(Some(sigmas) == *wished))));
    }
    Some(keys)
}

/// The names, for people.
pub(super) fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

fn folded(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::keys;

    #[test]
    fn names_become_keys_however_they_are_written() {
        for name in ["euler", "Euler", "EulerDiscreteScheduler"] {
            assert_eq!(keys(name).map(Value::from), Some(json!({ "_class_name": "EulerDiscreteScheduler" })));
        }
        let karras = json!({
            "_class_name": "EulerDiscreteScheduler",
            "use_karras_sigmas": true, "use_exponential_sigmas": false, "use_beta_sigmas": false,
        });
        assert_eq!(keys("euler_karras").map(Value::from), Some(karras));
        assert_eq!(keys("quantum"), None);
    }
}
