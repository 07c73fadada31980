//! A secret by the name of the environment variable that holds it: read once, never printed, never through figment.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// `{ env = "NAME" }` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// The environment variable that holds the secret.
    pub env: String,
}

/// `[{ env = "NAME" }, …]` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRefs(pub Vec<SecretRef>);

/// Written by hand, so that a secret that stands where its variable's name belongs is not repeated in the error.
impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reference)
    }
}

struct Reference;

const SHAPE: &str = "a secret is written { env = \"NAME\" }, never by its value";

impl<'de> Visitor<'de> for Reference {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPE)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretRef, E> {
        Err(E::custom(SHAPE))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretRef, E> {
        Err(E::custom(SHAPE))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SecretRef, E> {
        Err(E::custom(SHAPE))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretRef, E> {
        Err(E::custom(SHAPE))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
        let mut env = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "env" {
                return Err(A::Error::custom(SHAPE));
            }
            env = Some(map.next_value::<String>().map_err(|_| A::Error::custom(SHAPE))?);
        }
        let is_name =
            |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        env.filter(is_name).map(|env| SecretRef { env }).ok_or_else(|| A::Error::custom(SHAPE))
    }
}

/// Written by hand for the same reason.
impl<'de> Deserialize<'de> for SecretRefs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(References)
    }
}

struct References;

const SHAPES: &str = "secrets are written [{ env = \"NAME\" }, …], never by their values";

impl<'de> Visitor<'de> for References {
    type Value = SecretRefs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPES)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretRefs, E> {
        Err(E::custom(SHAPES))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretRefs, E> {
        Err(E::custom(SHAPES))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SecretRefs, E> {
        Err(E::custom(SHAPES))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretRefs, E> {
        Err(E::custom(SHAPES))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<SecretRefs, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(SecretRefs(all))
    }
}

/// A secret that was found.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl SecretRef {
    /// The secret, if its variable is set and not blank. White space around it (a trailing newline) is dropped.
    #[expect(clippy::disallowed_methods, reason = "the one place where a secret is read")]
    pub fn resolve(&self) -> Option<Secret> {
        let value = std::env::var(&self.env).ok()?;
        let value = value.trim();
        (!value.is_empty()).then(|| Secret(SecretString::from(value)))
    }
}

impl Secret {
    /// The secret itself, to be put into a request and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
