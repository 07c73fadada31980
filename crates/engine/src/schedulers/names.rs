//! The names by which people ask for schedulers. It builds nothing: a name becomes the keys of a scheduler config.

use serde_json::{Map, Value, json};

use super::EulerDiscrete;
use crate::{Error, Result};

/// What people call it, in the order in which it is offered, and which noise levels it uses.
const NAMES: [(&str, Option<&str>); 4] = [
    ("Euler", None),
    ("Euler Karras", Some("use_karras_sigmas")),
    ("Euler Exponential", Some("use_exponential_sigmas")),
    ("Euler Beta", Some("use_beta_sigmas")),
];

/// The keys that select the scheduler of this name: a diffusers class (the model's own keys stay as they are), or a
/// name as people write it (`euler`, `Euler Karras`). Case, spaces, `-` and `_` do not matter.
pub fn from_name(name: &str) -> Result<Map<String, Value>> {
    let mut keys = Map::from_iter([("_class_name".to_owned(), json!(EulerDiscrete::CLASS))]);
    if fold(name) == fold(EulerDiscrete::CLASS) {
        return Ok(keys);
    }
    let Some((_, sigmas)) = NAMES.iter().find(|(known, _)| fold(known) == fold(name)) else {
        let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).chain(super::AVAILABLE).collect();
        return Err(Error::invalid(format!("the scheduler {name} is not available"))
            .with_hint(format!("available: {}", known.join(", "))));
    };
    if let Some(sigmas) = sigmas {
        for (_, other) in NAMES {
            if let Some(other) = other {
                keys.insert(other.to_owned(), json!(other == *sigmas));
            }
        }
    }
    Ok(keys)
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded() {
        for name in ["Euler", "euler", " EULER ", "EulerDiscreteScheduler"] {
            assert_eq!(
                from_name(name).unwrap(),
                Map::from_iter([("_class_name".to_owned(), json!("EulerDiscreteScheduler"))])
            );
        }
        let karras = from_name("euler_karras").unwrap();
        assert_eq!(karras["use_karras_sigmas"], json!(true));
        assert_eq!(karras["use_beta_sigmas"], json!(false));
    }

    #[test]
    fn an_unknown_name_offers_the_known_ones() {
        let error = easel_engine_protocol::EngineError::from(from_name("DPM++ 2M").unwrap_err());
        assert_eq!(error.message, "the scheduler DPM++ 2M is not available");
        assert!(error.hint.unwrap().contains("Euler Karras"));
    }
}
