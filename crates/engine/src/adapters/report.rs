//! How an adapter meets a model: which of its layers found their place, and which did not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use easel_engine_protocol::{AdapterReport, UnmatchedLayer};

/// Unmatched layers that are named in a sentence; the report has them all.
const SHOWN: usize = 5;

/// How one adapter file meets a model.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchReport {
    /// The file.
    pub path: PathBuf,
    /// Which family of models it seems to be for, if it tells.
    pub family: Option<&'static str>,
    /// The layers that the model has.
    pub matched: Vec<MatchedLayer>,
    /// The layers that it does not have.
    pub unmatched: Vec<Unmatched>,
}

/// A layer of an adapter that the model has.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedLayer {
    /// Its name in the file.
    pub name: String,
    /// The component that it changes.
    pub component: String,
    /// The tensors that it changes; several where the adapter has queries, keys and values in one.
    pub tensors: Vec<String>,
    /// Which kind of change it is: LoRA, `LoCon`, `LoHa`, `LoKr`, difference, with `DoRA` before those that renorm.
    pub kind: String,
    /// Its rank, where it has one.
    pub rank: Option<i64>,
    /// Its alpha; absent in the file, the rank.
    pub alpha: Option<f64>,
    /// What its change is multiplied by: alpha over rank, times the weight that is asked for.
    pub scale: f64,
}

/// A layer of an adapter that the model does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// Its name in the file.
    pub name: String,
    /// The layer of the model that is called most alike.
    pub nearest: Option<String>,
}

impl MatchReport {
    /// How many layers of each component are changed.
    pub fn components(&self) -> BTreeMap<&str, usize> {
        let mut components = BTreeMap::new();
        for layer in &self.matched {
            *components.entry(layer.component.as_str()).or_default() += 1;
        }
        components
    }

    /// What the engine's answer says of it.
    pub fn told(&self) -> AdapterReport {
        let named = self.unmatched.iter().take(AdapterReport::MOST_NAMED);
        let components = self.components().into_iter().map(|(name, layers)| (name.to_owned(), counted(layers)));
        AdapterReport {
            matched: counted(self.matched.len()),
            total: counted(self.matched.len() + self.unmatched.len()),
            components: components.collect(),
            unmatched: named
                .map(|layer| UnmatchedLayer { name: layer.name.clone(), nearest: layer.nearest.clone() })
                .collect(),
        }
    }

    /// A sentence about the layers that the model does not have, if there are any.
    pub fn warning(&self) -> Option<String> {
        if self.unmatched.is_empty() {
            return None;
        }
        let all = self.matched.len() + self.unmatched.len();
        Some(format!(
            "adapter {}: {} of {all} layers are not in the model and are left out: {}",
            self.path.display(),
            self.unmatched.len(),
            self.unmatched_names()
        ))
    }

    /// The first unmatched layers, each with what is called alike.
    pub(super) fn unmatched_names(&self) -> String {
        let named = |layer: &Unmatched| match &layer.nearest {
            Some(nearest) => format!("{} (the nearest is {nearest})", layer.name),
            None => layer.name.clone(),
        };
        let shown: Vec<_> = self.unmatched.iter().take(SHOWN).map(named).collect();
        match self.unmatched.len().saturating_sub(SHOWN) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }
}

fn counted(layers: usize) -> u32 {
    u32::try_from(layers).unwrap_or(u32::MAX)
}
