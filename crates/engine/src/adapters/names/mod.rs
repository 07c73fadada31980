//! The names under which adapters know the layers of a component, all derived from the component's own tensors: nothing
//! is known here of how many blocks or layers a model has. Pure; no tensors.

mod bfl;
mod clip;
mod diffusers;
mod sgm;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::parts::Part;

/// Where a layer of an adapter is in a component. Names are those of layers, without `.weight`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// One layer.
    One(String),
    /// Several layers, whose rows lie one below the other in the adapter: queries, keys, values.
    Fused(Vec<String>),
    /// One layer, the halves of whose rows lie the other way round in the adapter.
    Halves(String),
}

/// A name that adapters use, and what it means.
type Alias = (String, Place);

/// The layers of a component by every name that adapters have for them.
#[derive(Debug)]
pub struct Names {
    /// Shapes of the component's tensors.
    shapes: BTreeMap<String, Vec<u64>>,
    dotted: HashMap<String, Option<Place>>,
    /// With `_` for `.`, as sd-scripts writes names. `None` where two layers would have the same.
    joined: HashMap<String, Option<Place>>,
}

impl Names {
    /// The names of a component's layers.
    pub fn of(part: &Part) -> Self {
        let shapes: BTreeMap<_, _> = part.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape())).collect();
        let layers: Vec<&str> = {
            let mut layers: Vec<_> = shapes.keys().filter_map(|name| layer_of(name)).collect();
            layers.dedup();
            layers
        };
        let mut aliases: Vec<Alias> =
            layers.iter().map(|layer| ((*layer).to_owned(), Place::One((*layer).to_owned()))).collect();
        aliases.extend(sgm::aliases(&layers));
        aliases.extend(bfl::aliases(&layers));
        aliases.extend(clip::aliases(&layers));
        // Last, because they hold for the names that came before.
        let attention = diffusers::aliases(&aliases);
        aliases.extend(attention);
        let (mut dotted, mut joined) = (HashMap::new(), HashMap::new());
        for (name, place) in aliases {
            add(&mut joined, name.replace('.', "_"), &place);
            add(&mut dotted, name, &place);
        }
        Self { shapes, dotted, joined }
    }

    /// What a name with dots means.
    pub fn dotted(&self, name: &str) -> Option<&Place> {
        self.dotted.get(name)?.as_ref()
    }

    /// What a name with underscores means.
    pub fn joined(&self, name: &str) -> Option<&Place> {
        self.joined.get(name)?.as_ref()
    }

    /// The shape of a tensor.
    pub fn shape(&self, tensor: &str) -> Option<&[u64]> {
        self.shapes.get(tensor).map(Vec::as_slice)
    }

    /// The name that is most like this one, by how much of both ends they share: what differs is most often one word.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let joined = name.replace('.', "_");
        let likeness = |candidate: &str| {
            let same = |(a, b): &(u8, u8)| a == b;
            let head = joined.bytes().zip(candidate.bytes()).take_while(same).count();
            let tail = joined.bytes().rev().zip(candidate.bytes().rev()).take_while(same).count();
            (head + tail).min(candidate.len())
        };
        let mut best: Option<(usize, &str)> = None;
        for (candidate, place) in &self.joined {
            let Some(Place::One(layer) | Place::Halves(layer)) = place else { continue };
            let likeness = likeness(candidate);
            // Ties by name, so that the answer is always the same.
            if likeness > 0 && best.is_none_or(|(most, known)| (most, layer.as_str()).cmp(&(likeness, known)).is_lt()) {
                best = Some((likeness, layer));
            }
        }
        best.map(|(_, layer)| layer)
    }
}

fn add(names: &mut HashMap<String, Option<Place>>, name: String, place: &Place) {
    match names.entry(name) {
        Entry::Vacant(new) => {
            new.insert(Some(place.clone()));
        }
        Entry::Occupied(mut known) => {
            if known.get().as_ref().is_some_and(|known| known != place) {
                known.insert(None);
            }
        }
    }
}

/// The layer that a tensor belongs to.
fn layer_of(tensor: &str) -> Option<&str> {
    tensor.strip_suffix(".weight").or_else(|| tensor.strip_suffix(".bias"))
}

/// A name and the number after it: `resnets.12.conv1` is 12 and `conv1` for `resnets`.
fn numbered<'a>(name: &'a str, word: &str) -> Option<(usize, &'a str)> {
    let rest = name.strip_prefix(word)?.strip_prefix('.')?;
    let (number, rest) = rest.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests;
