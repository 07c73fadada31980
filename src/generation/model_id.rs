//! The names of providers and of their models.

use std::fmt;

/// The id of a provider's section in the configuration (`[providers.<id>]`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(String);

/// A model's key within its provider. It may contain slashes (`org/name`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelKey(String);

/// One model of one provider, written `provider/key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId {
    /// Whose model.
    pub provider: ProviderId,
    /// Which of its models.
    pub key: ModelKey,
}

impl ProviderId {
    /// Takes an id as configured.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ModelKey {
    /// Takes a key as configured.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.key)
    }
}
