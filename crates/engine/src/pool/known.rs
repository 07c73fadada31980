//! The components that were met so far, each once: two parts that compute the same with the same bytes are one
//! component, in whichever models and files they lie.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tch::Kind;

use super::digests::Digests;
use super::identity::{self, Digest};
use super::{Network, content};
use crate::Result;
use crate::parts::Part;

/// A component in one kind of numbers: what is loaded, leased and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u32);

/// What is known of a key.
#[derive(Debug)]
pub(super) struct Variant {
    /// Which component.
    pub component: u32,
    /// What it computes in.
    pub kind: Kind,
}

/// A component.
#[derive(Debug)]
pub(super) struct Component {
    /// Where it was met first.
    pub part: Part,
    /// Models that lease it.
    pub users: BTreeSet<u64>,
    place: Digest,
    sample: Option<Digest>,
    content: Option<Digest>,
}

/// The components of a device.
#[derive(Debug)]
pub(super) struct Known {
    components: BTreeMap<u32, Component>,
    by_place: HashMap<Digest, u32>,
    by_outline: HashMap<Digest, Vec<u32>>,
    variants: BTreeMap<Key, Variant>,
    digests: Digests,
    next: u32,
}

impl Known {
    pub fn new(digests: Digests) -> Self {
        Self {
            components: BTreeMap::new(),
            by_place: HashMap::new(),
            by_outline: HashMap::new(),
            variants: BTreeMap::new(),
            digests,
            next: 0,
        }
    }

    /// The component that a part is. Bytes are read only where there is another one that it could be.
    pub fn component<N: Network>(&mut self, part: &Part) -> Result<u32> {
        let place = identity::place::<N>(part);
        if let Some(&known) = self.by_place.get(&place) {
            return Ok(known);
        }
        let outline = identity::outline::<N>(part)?;
        let others = self.by_outline.get(&outline).cloned().unwrap_or_default();
        let mut met = Component { part: part.clone(), users: BTreeSet::new(), place, sample: None, content: None };
        for other in others {
            if self.is_same::<N>(&mut met, other) {
                self.by_place.insert(place, other);
                return Ok(other);
            }
        }
        let number = self.number();
        self.components.insert(number, met);
        self.by_place.insert(place, number);
        self.by_outline.entry(outline).or_default().push(number);
        Ok(number)
    }

    /// Whether the bytes are the same. A file that cannot be read is the same as nothing: who opens it says why.
    fn is_same<N: Network>(&mut self, met: &mut Component, other: u32) -> bool {
        let Some(known) = self.components.get_mut(&other) else {
            return false;
        };
        let [a, b] = [&mut *met, known].map(Component::sample::<N>);
        if a.is_none() || a != b {
            return false;
        }
        let Some(known) = self.components.get_mut(&other) else {
            return false;
        };
        let [a, b] = [&mut *met, known].map(|component| component.content::<N>(&mut self.digests));
        a.is_some() && a == b
    }

    /// The key of a component in a kind of numbers.
    pub fn key(&mut self, component: u32, kind: Kind) -> Key {
        let is_it = |variant: &Variant| variant.component == component && variant.kind == kind;
        if let Some((key, _)) = self.variants.iter().find(|(_, variant)| is_it(variant)) {
            return *key;
        }
        let key = Key(self.number());
        self.variants.insert(key, Variant { component, kind });
        key
    }

    /// A number that was never used.
    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    /// What is known of a key.
    pub fn variant(&self, key: Key) -> Option<(&Variant, &Component)> {
        let variant = self.variants.get(&key)?;
        Some((variant, self.components.get(&variant.component)?))
    }

    /// Every key there is.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.variants.keys().copied()
    }

    /// A model leases a component.
    pub fn note_user(&mut self, component: u32, user: u64) {
        if let Some(component) = self.components.get_mut(&component) {
            component.users.insert(user);
        }
    }

    /// A model is no longer open. Gives the keys of the components that no other one leases.
    pub fn forget_user(&mut self, user: u64) -> Vec<Key> {
        let mut unused = BTreeSet::new();
        for (number, component) in &mut self.components {
            if component.users.remove(&user) && component.users.is_empty() {
                unused.insert(*number);
            }
        }
        self.variants.iter().filter(|(_, variant)| unused.contains(&variant.component)).map(|(key, _)| *key).collect()
    }

    /// Forgets the components that no model uses and of which nothing is held.
    pub fn forget_unused(&mut self, is_held: impl Fn(Key) -> bool) {
        let held: BTreeSet<u32> =
            self.variants.iter().filter(|(key, _)| is_held(**key)).map(|(_, variant)| variant.component).collect();
        self.components.retain(|number, component| held.contains(number) || !component.users.is_empty());
        let components = &self.components;
        self.variants.retain(|_, variant| components.contains_key(&variant.component));
        self.by_place.retain(|_, number| components.contains_key(number));
        self.by_outline.retain(|_, numbers| {
            numbers.retain(|number| components.contains_key(number));
            !numbers.is_empty()
        });
    }
}

impl Component {
    fn sample<N: Network>(&mut self) -> Option<Digest> {
        if self.sample.is_none() && self.is_still::<N>() {
            self.sample = content::sample::<N>(&self.part).ok();
        }
        self.sample
    }

    fn content<N: Network>(&mut self, digests: &mut Digests) -> Option<Digest> {
        if self.content.is_none() && self.is_still::<N>() {
            let found = digests.get(self.place);
            let content = found.or_else(|| content::whole::<N>(&self.part).ok());
            // What was read while the file changed belongs to no state of it.
            self.content = content.filter(|_| self.is_still::<N>());
            if let (None, Some(content)) = (found, self.content) {
                digests.put(self.place, content);
            }
        }
        self.content
    }

    /// Whether its files are what they were when it was met.
    fn is_still<N: Network>(&self) -> bool {
        identity::place::<N>(&self.part) == self.place
    }
}
