//! Which of a pickle's tensors are the weights. Checkpoints wrap them in mappings of many names: the rule below looks
//! for the mapping that holds the tensors, and joins the names of what is nested in it with dots.

use std::collections::BTreeMap;

use crate::contents::MAX_TENSORS;

use super::reader::Refusal;
use super::value::{Id, Object, Tree, Value};

/// The weights of a pickle.
#[derive(Debug, Default)]
pub(crate) struct StateDict {
    /// Names and the objects that are the tensors.
    pub tensors: Vec<(String, Id)>,
    /// Plain values that stand beside the weights, such as `global_step`, and as [`MAPPING`] where the weights were.
    pub notes: BTreeMap<String, String>,
}

/// The longest name of a tensor.
const MAX_NAME_BYTES: usize = 512;

/// The note that says in which mapping the weights were found.
const MAPPING: &str = "pickle.mapping";

/// Mappings that hold weights by their names, best first: averaged weights of an upscaler before raw ones.
const WRAPPERS: [&str; 12] = [
    "state_dict",
    "model_state_dict",
    "params_ema",
    "params",
    "model",
    "module",
    "net",
    "network",
    "generator",
    "gen",
    "weights",
    "model_weights",
];
/// Mappings that hold tensors and no weights: a trainer's own.
const TRAINERS: [&str; 12] = [
    "optimizer",
    "optimizers",
    "optimizer_states",
    "optimizer_state_dict",
    "opt",
    "lr_schedulers",
    "lr_scheduler",
    "scheduler",
    "callbacks",
    "loops",
    "hyper_parameters",
    "rng_state",
];
/// A mapping whose name is the only sign of what it holds (textual inversion): its name is kept.
const TELLING: &str = "string_to_param";

const MAX_WRAPPERS: usize = 8;
const MAX_NESTING: usize = 16;
/// Entries looked at in all: a mapping can stand in many places.
const MAX_VISITS: usize = 400_000;
/// Bytes of all names together: the same.
const MAX_NAMES: usize = 8 << 20;
const MAX_NOTES: usize = 64;
const MAX_NOTE_BYTES: usize = 256;

/// Finds the weights. The error is the reason alone.
pub(crate) fn state_dict(tree: &Tree<'_>, value: Value) -> Result<StateDict, Refusal> {
    let mut walk = Walk { tree, visits: 0, name_bytes: 0, dict: StateDict::default() };
    let (mut holder, mut path) = (value, Vec::new());
    for _ in 0..MAX_WRAPPERS {
        let Some(entries) = tree.entries(holder) else { break };
        walk.take_notes(entries);
        let Some((name, inner)) = walk.wrapped(entries)? else { break };
        path.push(name);
        holder = inner;
    }
    if tree.entries(holder).is_none() {
        return Err("it holds no mapping of tensors; a state dict is needed".to_owned());
    }
    walk.collect(holder, "", 0, path.is_empty())?;
    let mut dict = walk.dict;
    if dict.tensors.is_empty() {
        return Err("it holds no mapping of tensors; a state dict is needed".to_owned());
    }
    if !path.is_empty() {
        dict.notes.insert(MAPPING.to_owned(), path.join("."));
    }
    Ok(dict)
}

struct Walk<'t, 'p> {
    tree: &'t Tree<'p>,
    visits: usize,
    name_bytes: usize,
    dict: StateDict,
}

impl<'p> Walk<'_, 'p> {
    fn visit(&mut self, entries: usize) -> Result<(), Refusal> {
        self.visits += entries;
        if self.visits > MAX_VISITS {
            return Err(format!("more than {MAX_VISITS} entries, counting each as often as it stands"));
        }
        Ok(())
    }

    fn key(&self, key: Value) -> Option<String> {
        match key {
            Value::Text(span) => Some(self.tree.text(span).to_owned()),
            Value::Int(number) => Some(number.to_string()),
            Value::None | Value::Bool(_) | Value::Big(_) | Value::Float(_) | Value::Bytes(_) | Value::Object(_) => None,
        }
    }

    /// The mapping inside this one that holds the weights, unless this one holds them itself.
    fn wrapped(&mut self, entries: &[(Value, Value)]) -> Result<Option<(&'p str, Value)>, Refusal> {
        self.visit(entries.len())?;
        let mut inner = Vec::new();
        for (key, value) in entries {
            let Value::Text(span) = *key else { continue };
            let name = self.tree.text(span);
            if !TRAINERS.contains(&name) && self.tree.entries(*value).is_some() && self.holds_tensors(*value, 0)? {
                inner.push((name, *value));
            }
        }
        // By a name that means weights; a mapping of more tensors than strangers wins over such a name.
        let named = WRAPPERS.iter().find_map(|wrapper| inner.iter().find(|(name, _)| name == wrapper));
        if let Some(found) = named {
            return Ok(Some(*found));
        }
        let own = entries.iter().any(|(_, value)| matches!(self.tree.of(*value), Some(Object::Tensor(_))));
        match inner.as_slice() {
            [only] if !own && only.0 != TELLING => Ok(Some(*only)),
            _ => Ok(None),
        }
    }

    /// Whether there is a tensor in the mapping, or in one inside it.
    fn holds_tensors(&mut self, value: Value, depth: usize) -> Result<bool, Refusal> {
        let tree = self.tree;
        let Some(entries) = tree.entries(value) else { return Ok(false) };
        if depth > MAX_NESTING {
            return Err(format!("mappings nested deeper than {MAX_NESTING}"));
        }
        self.visit(entries.len())?;
        if entries.iter().any(|(_, value)| matches!(tree.of(*value), Some(Object::Tensor(_)))) {
            return Ok(true);
        }
        for (_, value) in entries {
            if self.holds_tensors(*value, depth + 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds what is in `value` under names that begin with `prefix`.
    fn collect(&mut self, value: Value, prefix: &str, depth: usize, is_top: bool) -> Result<(), Refusal> {
        if depth > MAX_NESTING {
            return Err(format!("mappings nested deeper than {MAX_NESTING}"));
        }
        let tree = self.tree;
        match tree.of(value) {
            Some(Object::Tensor(_)) => {
                if let Value::Object(id) = value {
                    self.dict.tensors.push((prefix.to_owned(), id));
                }
                if self.dict.tensors.len() > MAX_TENSORS {
                    return Err(format!("more than {MAX_TENSORS} tensors"));
                }
            }
            Some(Object::Dict(entries)) => {
                self.visit(entries.len())?;
                for (key, inner) in entries {
                    if !matches!(
                        tree.of(*inner),
                        Some(Object::Tensor(_) | Object::Dict(_) | Object::List(_) | Object::Tuple(_))
                    ) {
                        continue;
                    }
                    let Some(key) = self.key(*key) else { continue };
                    if is_top && TRAINERS.contains(&key.as_str()) {
                        continue;
                    }
                    let name = self.joined(prefix, &key)?;
                    self.collect(*inner, &name, depth + 1, false)?;
                }
            }
            Some(Object::List(items) | Object::Tuple(items)) => {
                self.visit(items.len())?;
                for (index, inner) in items.iter().enumerate() {
                    if tree.of(*inner).is_some() {
                        let name = self.joined(prefix, &index.to_string())?;
                        self.collect(*inner, &name, depth + 1, false)?;
                    }
                }
            }
            Some(Object::Known(_) | Object::Foreign { .. } | Object::Inert | Object::Storage(_)) | None => {}
        }
        Ok(())
    }

    fn joined(&mut self, prefix: &str, key: &str) -> Result<String, Refusal> {
        let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
        if name.len() > MAX_NAME_BYTES {
            return Err(format!("a tensor's name of {} bytes", name.len()));
        }
        self.name_bytes += name.len();
        if self.name_bytes > MAX_NAMES {
            return Err(format!("names of more than {MAX_NAMES} bytes in all"));
        }
        Ok(name)
    }

    /// Keeps the plain values of a mapping: they tell about the weights.
    fn take_notes(&mut self, entries: &[(Value, Value)]) {
        for (key, value) in entries {
            let Some(key) = self.key(*key) else { continue };
            let note = match value {
                Value::Int(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                Value::Text(span) => self.tree.text(*span).to_owned(),
                Value::None | Value::Big(_) | Value::Bytes(_) | Value::Object(_) => continue,
            };
            let fits = self.dict.notes.len() < MAX_NOTES && key.len() <= MAX_NOTE_BYTES && note.len() <= MAX_NOTE_BYTES;
            if fits {
                self.dict.notes.entry(key).or_insert(note);
            }
        }
    }
}
