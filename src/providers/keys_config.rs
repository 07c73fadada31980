//! `api_key` and `api_keys` in a kind's configuration: one key, several that take turns, or none.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{BuildError, Built, Provider};
use crate::generation::Availability;
use crate::secret::{Secret, SecretRef, SecretRefs};

/// The keys that a section names. A kind has two fields, `api_key: Option<SecretRef>` and
/// `api_keys: Option<SecretRefs>`, and hands both over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeys(Vec<SecretRef>);

/// What one provider of a section has to show upstream.
#[derive(Debug, Clone)]
pub enum ApiKey {
    /// This.
    Set(Secret),
    /// Nothing: the section names no key.
    NotAsked,
    /// Nothing, although the section names one: what `is_available` says of it.
    Missing(Availability),
}

impl ApiKeys {
    /// The keys of a section whose upstream may ask for none. `several` takes the place of `one`, which a section over
    /// the compiled-in settings cannot take away.
    ///
    /// # Errors
    /// When `several` is empty or names a variable twice.
    pub fn optional(one: Option<SecretRef>, several: Option<SecretRefs>) -> Result<Self, BuildError> {
        let Some(SecretRefs(several)) = several else { return Ok(Self(one.into_iter().collect())) };
        if several.is_empty() {
            return Err(BuildError::config("api_keys", "it names no key: write [{ env = \"NAME\" }, …]"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = several.iter().find(|key| !seen.insert(&key.env)) {
            return Err(BuildError::config("api_keys", format!("it names {} twice", twice.env)));
        }
        Ok(Self(several))
    }

    /// The keys of a section whose upstream asks for one.
    ///
    /// # Errors
    /// As [`ApiKeys::optional`], and when there is none.
    pub fn required(one: Option<SecretRef>, several: Option<SecretRefs>) -> Result<Self, BuildError> {
        let keys = Self::optional(one, several)?;
        if keys.0.is_empty() {
            return Err(BuildError::config("api_key", "missing: write { env = \"NAME\" }"));
        }
        Ok(keys)
    }

    /// One provider for each key that is set, and a single one without where none is. Some that are not set are no
    /// more than a warning.
    pub fn build(&self, mut make: impl FnMut(ApiKey) -> Arc<dyn Provider>) -> Built {
        let mut set = Vec::new();
        let mut unset = Vec::new();
        for reference in &self.0 {
            match reference.resolve() {
                Some(secret) => set.push(secret),
                None => unset.push(reference.env.as_str()),
            }
        }
        let mut set = set.into_iter();
        let Some(first) = set.next() else {
            return make(if unset.is_empty() { ApiKey::NotAsked } else { ApiKey::Missing(missing(&unset)) }).into();
        };
        if !unset.is_empty() {
            tracing::warn!(variables = unset.join(", "), "keys that are configured are not set; the others take turns");
        }
        Built { first: make(ApiKey::Set(first)), others: set.map(|key| make(ApiKey::Set(key))).collect() }
    }
}

impl ApiKey {
    /// The key to be sent, if there is one.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Set(secret) => Some(secret),
            Self::NotAsked | Self::Missing(_) => None,
        }
    }

    /// Why no key can be sent where one is configured.
    pub fn missing(&self) -> Option<&Availability> {
        match self {
            Self::Missing(availability) => Some(availability),
            Self::Set(_) | Self::NotAsked => None,
        }
    }
}

fn missing(names: &[&str]) -> Availability {
    let (detail, remedy) = match names {
        [name] => (
            format!("the environment variable {name} is not set"),
            format!("set {name} to its key and start Easel again"),
        ),
        names => {
            let names = names.join(", ");
            (
                format!("none of the environment variables {names} is set"),
                format!("set one of {names} to its key and start Easel again"),
            )
        }
    };
    Availability::Unavailable { reason: "no_key", detail, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::scripted::{Scripted, model};

    fn names(names: &[&str]) -> SecretRefs {
        SecretRefs(names.iter().map(|name| SecretRef { env: (*name).to_owned() }).collect())
    }

    fn one(name: &str) -> Option<SecretRef> {
        names(&[name]).0.pop()
    }

    /// What each provider was made with.
    fn made(keys: &ApiKeys) -> Vec<String> {
        let mut made = Vec::new();
        let built = keys.build(|key| {
            made.push(match key {
                ApiKey::Set(secret) => secret.expose().to_owned(),
                ApiKey::NotAsked => "none".to_owned(),
                ApiKey::Missing(Availability::Unavailable { remedy, .. }) => remedy,
                ApiKey::Missing(Availability::Available) => panic!(),
            });
            Arc::new(Scripted::new(vec![model("m")], []))
        });
        assert_eq!(built.others.len() + 1, made.len());
        made
    }

    #[test]
    fn there_is_a_provider_for_each_key_that_is_set() {
        // Cargo sets these for every test.
        let (name, package) = ("CARGO_PKG_NAME", "easel");
        assert_eq!(made(&ApiKeys::optional(None, None).unwrap()), ["none"]);
        assert_eq!(made(&ApiKeys::optional(one(name), None).unwrap()), [package]);
        let several = names(&[name, "EASEL_TEST_UNSET", "CARGO_PKG_VERSION_MAJOR"]);
        assert_eq!(made(&ApiKeys::required(one("EASEL_TEST_UNSET"), Some(several)).unwrap()), [package, "0"]);
        let single = made(&ApiKeys::required(one("EASEL_TEST_UNSET"), None).unwrap());
        assert_eq!(single, ["set EASEL_TEST_UNSET to its key and start Easel again"]);
        let unset = made(&ApiKeys::optional(None, Some(names(&["EASEL_TEST_A", "EASEL_TEST_B"]))).unwrap());
        assert_eq!(unset, ["set one of EASEL_TEST_A, EASEL_TEST_B to its key and start Easel again"]);
    }

    #[test]
    fn what_cannot_be_is_told_with_its_key() {
        let said = |keys: Result<ApiKeys, BuildError>| keys.unwrap_err().to_string();
        assert_eq!(
            said(ApiKeys::optional(None, Some(names(&[])))),
            "api_keys: it names no key: write [{ env = \"NAME\" }, …]"
        );
        assert_eq!(said(ApiKeys::optional(None, Some(names(&["A", "A"])))), "api_keys: it names A twice");
        assert_eq!(said(ApiKeys::required(None, None)), "api_key: missing: write { env = \"NAME\" }");
    }
}
