//! How the adapters of a job meet its model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How one adapter meets the model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterReport {
    /// Layers of the file that the model has; the others are left out.
    pub matched: u32,
    /// Layers of the file.
    pub total: u32,
    /// How many of the matched ones each component has, by its name in diffusers (`unet`, `text_encoder_2`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, u32>,
    /// Of the layers that the model does not have, the first [`Self::MOST_NAMED`]: `total - matched` is how many there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<UnmatchedLayer>,
}

impl AdapterReport {
    /// The most layers that are named: those of a file for another family are thousands.
    pub const MOST_NAMED: usize = 20;
}

/// A layer of an adapter that the model does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedLayer {
    /// Its name in the file.
    pub name: String,
    /// The layer of the model that is called most alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}
