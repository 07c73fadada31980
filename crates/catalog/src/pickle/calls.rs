//! The machine's instructions for names, and for what would be calls: they ask [`globals`] what a name means, and make an
//! object that stands for the result. No call is made.

use super::globals::{self, Name, Verdict};
use super::machine::{MAX_FOREIGN, Machine, Step};
use super::reader::Refusal;
use super::tensor;
use super::value::{Object, Span, Value};

impl Machine<'_> {
    pub(super) fn global(&mut self) -> Step {
        let module = self.reader.line()?;
        let name = self.reader.line()?;
        let value = self.name(module, name)?;
        self.push(value)
    }

    pub(super) fn stack_global(&mut self) -> Step {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (module, name) else {
            return Err("a name that is no text".to_owned());
        };
        let value = self.name(module, name)?;
        self.push(value)
    }

    pub(super) fn name(&mut self, module: Span, name: Span) -> Result<Value, Refusal> {
        let (module_text, name_text) = (self.tree.text(module), self.tree.text(name));
        match globals::verdict(module_text, name_text) {
            Verdict::Known(known) => self.add(Object::Known(known)),
            Verdict::Foreign { .. } => {
                if self.foreign.len() < MAX_FOREIGN {
                    self.foreign.insert(readable(module_text, name_text));
                }
                self.add(Object::Foreign { module, name })
            }
            Verdict::Refused => Err(format!(
                "it names `{}`, which no weights need; the file may be an attack, and nothing of it was run",
                readable(module_text, name_text)
            )),
        }
    }

    pub(super) fn inst(&mut self) -> Step {
        let module = self.reader.line()?;
        let name = self.reader.line()?;
        let args = self.pop_mark()?;
        let callee = self.name(module, name)?;
        self.call(callee, &args)
    }

    pub(super) fn obj(&mut self) -> Step {
        let mut args = self.pop_mark()?;
        if args.is_empty() {
            return Err("an instance without a class".to_owned());
        }
        let callee = args.remove(0);
        self.call(callee, &args)
    }

    pub(super) fn reduce(&mut self) -> Step {
        let (args, callee) = (self.pop()?, self.pop()?);
        let Some(Object::Tuple(args)) = self.tree.of(args) else {
            return Err("a call whose arguments are no tuple".to_owned());
        };
        let args = args.clone();
        self.call(callee, &args)
    }

    pub(super) fn call(&mut self, callee: Value, args: &[Value]) -> Step {
        let name = match self.tree.of(callee) {
            Some(Object::Known(name)) => *name,
            Some(Object::Foreign { module, name }) => {
                let (module, name) = (self.tree.text(*module), self.tree.text(*name));
                return match globals::verdict(module, name) {
                    Verdict::Foreign { may_be_called: true } => self.make(Object::Inert),
                    Verdict::Foreign { may_be_called: false } | Verdict::Known(_) | Verdict::Refused => Err(format!(
                        "it asks to call `{}`, which no weights need (a whole model instead of its state_dict(), or an \
                         attack); nothing of it was run",
                        readable(module, name)
                    )),
                };
            }
            _ => return Err("it asks to call what is no name".to_owned()),
        };
        match name {
            Name::Mapping | Name::ParameterDict => {
                let entries = self.mapping_of(args);
                self.make(Object::Dict(entries))
            }
            Name::Sequence => {
                let items = args.first().and_then(|first| self.tree.items(*first)).unwrap_or_default().to_vec();
                self.make(Object::List(items))
            }
            Name::RebuildTensor => {
                let rebuilt = tensor::rebuild(&self.tree, args)?;
                self.make(Object::Tensor(Box::new(rebuilt)))
            }
            Name::RebuildParameter => {
                let data = args.first().copied().unwrap_or(Value::None);
                match self.tree.of(data) {
                    Some(Object::Tensor(_)) => self.push(data),
                    _ => Err("a parameter of what is no tensor".to_owned()),
                }
            }
            Name::RebuildFromType => self.rebuild_from_type(args),
            Name::Data => self.make(Object::Inert),
            Name::Storage(_) | Name::Dtype(_) | Name::TensorClass => {
                Err("it asks to call a type of torch; torch writes no such call".to_owned())
            }
        }
    }

    /// What `OrderedDict(…)` holds: nothing, another mapping's entries, or those of a list of pairs (Python 2).
    pub(super) fn mapping_of(&self, args: &[Value]) -> Vec<(Value, Value)> {
        let Some(first) = args.first() else { return Vec::new() };
        if let Some(entries) = self.tree.entries(*first) {
            return entries.to_vec();
        }
        let pairs = self.tree.items(*first).unwrap_or_default();
        pairs
            .iter()
            .filter_map(|pair| match self.tree.items(*pair) {
                Some([key, value]) => Some((*key, *value)),
                _ => None,
            })
            .collect()
    }

    /// `_rebuild_from_type_v2(rebuild, class, arguments, state)`: the rebuilding, whatever the class.
    pub(super) fn rebuild_from_type(&mut self, args: &[Value]) -> Step {
        let [rebuild, class, arguments, ..] = args else {
            return Err("a tensor's class with too few arguments".to_owned());
        };
        if !matches!(self.tree.of(*class), Some(Object::Known(Name::TensorClass))) {
            return Err("a tensor of a class that is not known".to_owned());
        }
        match (self.tree.of(*rebuild), self.tree.of(*arguments)) {
            (Some(Object::Known(Name::RebuildTensor | Name::RebuildParameter)), Some(Object::Tuple(arguments))) => {
                let arguments = arguments.clone();
                self.call(*rebuild, &arguments)
            }
            _ => Err("a tensor that is rebuilt in a way that is not known".to_owned()),
        }
    }

    /// Attributes for an object. They matter only for `ParameterDict`, whose entries are one of them.
    pub(super) fn build(&mut self) -> Step {
        let state = self.pop()?;
        let target = self.top()?;
        let Value::Object(id) = target else { return Err("attributes for what is no object".to_owned()) };
        match self.tree.object(id) {
            Some(Object::Inert) => Ok(()),
            Some(Object::Dict(entries)) => {
                let parameters = self.tree.get(state, "_parameters").and_then(|value| self.tree.entries(value));
                match parameters {
                    Some(parameters) if entries.is_empty() => {
                        let items: Vec<Value> = parameters.iter().flat_map(|(key, value)| [*key, *value]).collect();
                        self.set_items(&items)
                    }
                    _ => Ok(()),
                }
            }
            _ => Err("attributes for what has none".to_owned()),
        }
    }

    pub(super) fn persistent(&mut self) -> Step {
        let id = self.pop()?;
        let storage = tensor::storage(&self.tree, id)?;
        self.make(Object::Storage(Box::new(storage)))
    }
}

/// A name from the file, cut so that an error stays a sentence.
fn readable(module: &str, name: &str) -> String {
    format!("{module}.{name}").chars().filter(|c| !c.is_control()).take(120).collect()
}
