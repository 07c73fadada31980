//! Low-rank adapters of a model.

/// One adapter and how strongly it acts.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// Its name, as the provider knows it.
    pub name: String,
    /// 1 is as trained; finite.
    pub weight: f64,
}

/// How an adapter met the model that made the pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraReport {
    /// The adapter as the request named it.
    pub lora: Lora,
    /// Layers of it that the model has; the others were left out.
    pub matched: u32,
    /// Layers of it.
    pub total: u32,
    /// The first of those that were left out, as the adapter calls them.
    pub unmatched: Vec<String>,
}
