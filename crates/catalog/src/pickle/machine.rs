//! The stack machine. It executes the instructions that make values; those that would call something ask [`globals`]
//! what the name means and make an object that stands for the result. Nothing outside the machine is ever touched.
//!
//! [`globals`]: super::globals

use std::collections::BTreeSet;

use super::limits;
use super::opcode as op;
use super::reader::{Reader, Refusal};
use super::value::{Id, Object, Tree, Value};

/// What a pickle made.
#[derive(Debug)]
pub(crate) struct Output<'p> {
    pub tree: Tree<'p>,
    pub value: Value,
    /// The byte after the pickle.
    pub end: usize,
    /// Names that mean nothing here, as `module.name`, at most [`MAX_FOREIGN`] of them.
    pub foreign: BTreeSet<String>,
}

/// Foreign names that are kept for the report.
pub(super) const MAX_FOREIGN: usize = 32;

/// Runs the pickle that begins at `start`. The error is the reason alone.
pub(crate) fn run(bytes: &[u8], start: usize) -> Result<Output<'_>, Refusal> {
    let mut machine = Machine {
        reader: Reader::new(bytes, start),
        tree: Tree { bytes, objects: Vec::new() },
        depths: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        items: 0,
        foreign: BTreeSet::new(),
    };
    for _ in 0..limits::INSTRUCTIONS {
        let at = machine.reader.position;
        let opcode = machine.reader.byte()?;
        if opcode == op::STOP {
            let value = machine.pop()?;
            return Ok(Output { tree: machine.tree, value, end: machine.reader.position, foreign: machine.foreign });
        }
        machine.step(opcode).map_err(|reason| format!("{reason} (pickle byte {at})"))?;
    }
    Err(format!("the pickle has more than {} instructions", limits::INSTRUCTIONS))
}

pub(super) struct Machine<'p> {
    pub(super) reader: Reader<'p>,
    pub(super) tree: Tree<'p>,
    /// How deep each object goes, itself included.
    pub(super) depths: Vec<u16>,
    pub(super) stack: Vec<Value>,
    /// The height of the stack at each mark.
    pub(super) marks: Vec<usize>,
    pub(super) memo: Vec<Value>,
    pub(super) items: usize,
    pub(super) foreign: BTreeSet<String>,
}

/// What an instruction comes to.
pub(super) type Step = Result<(), Refusal>;

impl Machine<'_> {
    pub(super) fn step(&mut self, opcode: u8) -> Step {
        match opcode {
            op::PROTO => self.protocol(),
            op::FRAME => self.frame(),
            op::MARK => self.mark(),
            op::POP => self.drop_top(),
            op::POP_MARK => self.pop_mark().map(drop),
            op::DUP => self.top().and_then(|value| self.push(value)),
            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Bool(true)),
            op::NEWFALSE => self.push(Value::Bool(false)),
            op::INT | op::LONG | op::BININT | op::BININT1 | op::BININT2 | op::LONG1 | op::LONG4 => self.integer(opcode),
            op::FLOAT | op::BINFLOAT => self.float(opcode),
            op::STRING | op::UNICODE => self.line_of_text(opcode),
            op::BINSTRING | op::SHORT_BINSTRING | op::BINUNICODE | op::SHORT_BINUNICODE | op::BINUNICODE8 => {
                self.text(opcode)
            }
            op::BINBYTES | op::SHORT_BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => self.bytes(opcode),
            op::EMPTY_LIST | op::EMPTY_SET => self.make(Object::List(Vec::new())),
            op::EMPTY_TUPLE => self.make(Object::Tuple(Vec::new())),
            op::EMPTY_DICT => self.make(Object::Dict(Vec::new())),
            op::TUPLE => self.pop_mark().and_then(|items| self.make(Object::Tuple(items))),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.short_tuple(usize::from(opcode - op::TUPLE1) + 1),
            op::LIST | op::FROZENSET => self.pop_mark().and_then(|items| self.make(Object::List(items))),
            op::DICT => self.dict(),
            op::APPEND => self.append(),
            op::APPENDS | op::ADDITEMS => self.pop_mark().and_then(|items| self.extend(&items)),
            op::SETITEM => self.set_item(),
            op::SETITEMS => self.pop_mark().and_then(|items| self.set_items(&items)),
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(opcode),
            op::GET | op::BINGET | op::LONG_BINGET => self.get(opcode),
            op::GLOBAL => self.global(),
            op::STACK_GLOBAL => self.stack_global(),
            op::INST => self.inst(),
            op::OBJ => self.obj(),
            op::REDUCE | op::NEWOBJ => self.reduce(),
            op::NEWOBJ_EX => self.drop_top().and_then(|()| self.reduce()),
            op::BUILD => self.build(),
            op::BINPERSID => self.persistent(),
            op::PERSID => Err("a persistent id that is a text; torch writes none".to_owned()),
            op::EXT1 | op::EXT2 | op::EXT4 => Err("an extension code; torch writes none".to_owned()),
            op::NEXT_BUFFER | op::READONLY_BUFFER => Err("an out-of-band buffer; a file has none".to_owned()),
            other => Err(format!("instruction {other:#04x} is none of pickle's")),
        }
    }

    pub(super) fn protocol(&mut self) -> Step {
        match self.reader.byte()? {
            0..=5 => Ok(()),
            other => Err(format!("pickle protocol {other}, at most 5 is known")),
        }
    }

    pub(super) fn frame(&mut self) -> Step {
        let len = u64::from_le_bytes(self.reader.array()?);
        let left = self.tree.bytes.len().saturating_sub(self.reader.position) as u64;
        if len > left { Err(format!("a frame of {len} bytes where {left} are left")) } else { Ok(()) }
    }

    // The stack.

    pub(super) fn push(&mut self, value: Value) -> Step {
        if self.stack.len() >= limits::STACK {
            return Err(format!("more than {} values on the stack", limits::STACK));
        }
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn mark(&mut self) -> Step {
        if self.marks.len() >= limits::STACK {
            return Err(format!("more than {} marks on the stack", limits::STACK));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Value, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("a value is taken from an empty stack".to_owned());
        }
        self.stack.pop().ok_or_else(|| "a value is taken from an empty stack".to_owned())
    }

    /// `POP` takes a mark too, where one is on top.
    pub(super) fn drop_top(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    pub(super) fn top(&mut self) -> Result<Value, Refusal> {
        let value = self.pop()?;
        self.stack.push(value);
        Ok(value)
    }

    /// Everything above the last mark, which is taken away too.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<Value>, Refusal> {
        let mark = self.marks.pop().ok_or("there is no mark on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    // Objects.

    pub(super) fn count_items(&mut self, more: usize) -> Step {
        self.items += more;
        if self.items > limits::ITEMS {
            return Err(format!("more than {} values in containers", limits::ITEMS));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, object: Object) -> Result<Value, Refusal> {
        let (items, depth) = match &object {
            Object::Tuple(items) | Object::List(items) => (items.len(), self.depth_of(items.iter().copied())),
            Object::Dict(entries) => {
                (2 * entries.len(), self.depth_of(entries.iter().flat_map(|(key, value)| [*key, *value])))
            }
            Object::Known(_) | Object::Foreign { .. } | Object::Inert | Object::Storage(_) | Object::Tensor(_) => {
                (0, 0)
            }
        };
        self.count_items(items)?;
        let id = Id::try_from(self.tree.objects.len()).map_err(|_| "too many objects".to_owned())?;
        if self.tree.objects.len() >= limits::OBJECTS {
            return Err(format!("more than {} objects", limits::OBJECTS));
        }
        self.tree.objects.push(object);
        self.depths.push(0);
        self.deepen(id, depth)?;
        Ok(Value::Object(id))
    }

    pub(super) fn make(&mut self, object: Object) -> Step {
        let value = self.add(object)?;
        self.push(value)
    }

    pub(super) fn depth_of(&self, values: impl Iterator<Item = Value>) -> u16 {
        values.map(|value| self.depth(value)).max().unwrap_or(0)
    }

    pub(super) fn depth(&self, value: Value) -> u16 {
        match value {
            Value::Object(id) => self.depths.get(id as usize).copied().unwrap_or(0),
            Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Big(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Bytes(_) => 0,
        }
    }

    /// Notes that `id` holds something this deep. What holds `id` is not told: walks have limits of their own.
    pub(super) fn deepen(&mut self, id: Id, inner: u16) -> Step {
        if inner >= limits::DEPTH {
            return Err(format!("containers nested deeper than {}", limits::DEPTH));
        }
        if let Some(depth) = self.depths.get_mut(id as usize) {
            *depth = (*depth).max(inner + 1);
        }
        Ok(())
    }

    pub(super) fn short_tuple(&mut self, len: usize) -> Step {
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.pop()?);
        }
        items.reverse();
        self.make(Object::Tuple(items))
    }

    pub(super) fn dict(&mut self) -> Step {
        let items = self.pop_mark()?;
        let entries = pairs(&items)?;
        self.make(Object::Dict(entries))
    }

    pub(super) fn append(&mut self) -> Step {
        let item = self.pop()?;
        self.extend(&[item])
    }

    pub(super) fn extend(&mut self, items: &[Value]) -> Step {
        self.count_items(items.len())?;
        let depth = self.depth_of(items.iter().copied());
        let target = self.top()?;
        let Value::Object(id) = target else { return Err("items for what is no list".to_owned()) };
        match self.tree.objects.get_mut(id as usize) {
            Some(Object::List(list)) => list.extend_from_slice(items),
            Some(Object::Inert) => return Ok(()),
            _ => return Err("items for what is no list".to_owned()),
        }
        self.deepen(id, depth)
    }

    pub(super) fn set_item(&mut self) -> Step {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(&[key, value])
    }

    pub(super) fn set_items(&mut self, items: &[Value]) -> Step {
        self.count_items(items.len())?;
        let entries = pairs(items)?;
        let depth = self.depth_of(items.iter().copied());
        let target = self.top()?;
        let Value::Object(id) = target else { return Err("entries for what is no mapping".to_owned()) };
        match self.tree.objects.get_mut(id as usize) {
            Some(Object::Dict(dict)) => dict.extend(entries),
            Some(Object::Inert) => return Ok(()),
            _ => return Err("entries for what is no mapping".to_owned()),
        }
        self.deepen(id, depth)
    }

    // The memo. Picklers number it from 0 or 1 on without gaps.

    pub(super) fn put(&mut self, opcode: u8) -> Step {
        let index = match opcode {
            op::BINPUT => usize::from(self.reader.byte()?),
            op::LONG_BINPUT => self.index_of_four()?,
            op::PUT => self.index_of_line()?,
            _ => self.memo.len(),
        };
        if index >= limits::MEMO {
            return Err(format!("memo entry {index}, at most {} are kept", limits::MEMO));
        }
        let value = self.top()?;
        if index >= self.memo.len() {
            self.memo.resize(index + 1, Value::None);
        }
        if let Some(entry) = self.memo.get_mut(index) {
            *entry = value;
        }
        Ok(())
    }

    pub(super) fn get(&mut self, opcode: u8) -> Step {
        let index = match opcode {
            op::BINGET => usize::from(self.reader.byte()?),
            op::LONG_BINGET => self.index_of_four()?,
            _ => self.index_of_line()?,
        };
        let value = self.memo.get(index).copied().ok_or_else(|| format!("memo entry {index} was never made"))?;
        self.push(value)
    }

    pub(super) fn index_of_four(&mut self) -> Result<usize, Refusal> {
        usize::try_from(u32::from_le_bytes(self.reader.array()?)).map_err(|error| error.to_string())
    }

    pub(super) fn index_of_line(&mut self) -> Result<usize, Refusal> {
        let line = self.reader.line()?;
        parse(self.tree.span(line)).ok_or_else(|| "a memo entry without a number".to_owned())
    }
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, Refusal> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".to_owned());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

pub(super) fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}
