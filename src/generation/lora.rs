//! Low-rank adapters of a model.

/// One adapter and how strongly it acts.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// Its name, as the provider knows it.
    pub name: String,
    /// 1 is as trained; finite.
    pub weight: f64,
}
