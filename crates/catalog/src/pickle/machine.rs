//! The stack machine. It executes the instructions that make values; those that would call something ask [`globals`]
//! what the name means and make an object that stands for the result. Nothing outside the machine is ever touched.
//!
//! [`globals`]: super::globals

use std::collections::BTreeSet;

use super::globals::{self, Name, Verdict};
use super::opcode as op;
use super::reader::{Reader, Refusal};
use super::value::{Id, Object, Span, Tree, Value};
use super::{limits, tensor};

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
const MAX_FOREIGN: usize = 32;

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

struct Machine<'p> {
    reader: Reader<'p>,
    tree: Tree<'p>,
    /// How deep each object goes, itself included.
    depths: Vec<u16>,
    stack: Vec<Value>,
    /// The height of the stack at each mark.
    marks: Vec<usize>,
    memo: Vec<Value>,
    items: usize,
    foreign: BTreeSet<String>,
}

type Step = Result<(), Refusal>;

impl Machine<'_> {
    fn step(&mut self, opcode: u8) -> Step {
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

    fn protocol(&mut self) -> Step {
        match self.reader.byte()? {
            0..=5 => Ok(()),
            other => Err(format!("pickle protocol {other}, at most 5 is known")),
        }
    }

    fn frame(&mut self) -> Step {
        let len = u64::from_le_bytes(self.reader.array()?);
        let left = self.tree.bytes.len().saturating_sub(self.reader.position) as u64;
        if len > left { Err(format!("a frame of {len} bytes where {left} are left")) } else { Ok(()) }
    }

    // The stack.

    fn push(&mut self, value: Value) -> Step {
        if self.stack.len() >= limits::STACK {
            return Err(format!("more than {} values on the stack", limits::STACK));
        }
        self.stack.push(value);
        Ok(())
    }

    fn mark(&mut self) -> Step {
        if self.marks.len() >= limits::STACK {
            return Err(format!("more than {} marks on the stack", limits::STACK));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("a value is taken from an empty stack".to_owned());
        }
        self.stack.pop().ok_or_else(|| "a value is taken from an empty stack".to_owned())
    }

    /// `POP` takes a mark too, where one is on top.
    fn drop_top(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn top(&mut self) -> Result<Value, Refusal> {
        let value = self.pop()?;
        self.stack.push(value);
        Ok(value)
    }

    /// Everything above the last mark, which is taken away too.
    fn pop_mark(&mut self) -> Result<Vec<Value>, Refusal> {
        let mark = self.marks.pop().ok_or("there is no mark on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    // Objects.

    fn count_items(&mut self, more: usize) -> Step {
        self.items += more;
        if self.items > limits::ITEMS {
            return Err(format!("more than {} values in containers", limits::ITEMS));
        }
        Ok(())
    }

    fn add(&mut self, object: Object) -> Result<Value, Refusal> {
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

    fn make(&mut self, object: Object) -> Step {
        let value = self.add(object)?;
        self.push(value)
    }

    fn depth_of(&self, values: impl Iterator<Item = Value>) -> u16 {
        values.map(|value| self.depth(value)).max().unwrap_or(0)
    }

    fn depth(&self, value: Value) -> u16 {
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
    fn deepen(&mut self, id: Id, inner: u16) -> Step {
        if inner >= limits::DEPTH {
            return Err(format!("containers nested deeper than {}", limits::DEPTH));
        }
        if let Some(depth) = self.depths.get_mut(id as usize) {
            *depth = (*depth).max(inner + 1);
        }
        Ok(())
    }

    fn short_tuple(&mut self, len: usize) -> Step {
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.pop()?);
        }
        items.reverse();
        self.make(Object::Tuple(items))
    }

    fn dict(&mut self) -> Step {
        let items = self.pop_mark()?;
        let entries = pairs(&items)?;
        self.make(Object::Dict(entries))
    }

    fn append(&mut self) -> Step {
        let item = self.pop()?;
        self.extend(&[item])
    }

    fn extend(&mut self, items: &[Value]) -> Step {
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

    fn set_item(&mut self) -> Step {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(&[key, value])
    }

    fn set_items(&mut self, items: &[Value]) -> Step {
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

    fn put(&mut self, opcode: u8) -> Step {
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

    fn get(&mut self, opcode: u8) -> Step {
        let index = match opcode {
            op::BINGET => usize::from(self.reader.byte()?),
            op::LONG_BINGET => self.index_of_four()?,
            _ => self.index_of_line()?,
        };
        let value = self.memo.get(index).copied().ok_or_else(|| format!("memo entry {index} was never made"))?;
        self.push(value)
    }

    fn index_of_four(&mut self) -> Result<usize, Refusal> {
        usize::try_from(u32::from_le_bytes(self.reader.array()?)).map_err(|error| error.to_string())
    }

    fn index_of_line(&mut self) -> Result<usize, Refusal> {
        let line = self.reader.line()?;
        parse(self.tree.span(line)).ok_or_else(|| "a memo entry without a number".to_owned())
    }

    // Plain values.

    fn integer(&mut self, opcode: u8) -> Step {
        let value = match opcode {
            op::BININT1 => Value::Int(i64::from(self.reader.byte()?)),
            op::BININT2 => Value::Int(i64::from(u16::from_le_bytes(self.reader.array()?))),
            op::BININT => Value::Int(i64::from(i32::from_le_bytes(self.reader.array()?))),
            op::LONG1 => {
                let len = u64::from(self.reader.byte()?);
                self.long(len)?
            }
            op::LONG4 => {
                let len = i32::from_le_bytes(self.reader.array()?);
                self.long(u64::try_from(len).map_err(|_| format!("a number of {len} bytes"))?)?
            }
            _ => {
                let line = self.reader.line()?;
                match self.tree.span(line) {
                    b"00" if opcode == op::INT => Value::Bool(false),
                    b"01" if opcode == op::INT => Value::Bool(true),
                    digits => parse(digits.strip_suffix(b"L").unwrap_or(digits))
                        .map(Value::Int)
                        .ok_or("a number that cannot be read")?,
                }
            }
        };
        self.push(value)
    }

    fn long(&mut self, len: u64) -> Result<Value, Refusal> {
        let span = self.reader.span(len, "a number")?;
        let bytes = self.tree.span(span);
        if bytes.len() > 8 {
            return Ok(Value::Big(span));
        }
        // Two's complement, little-endian: the sign fills what is missing.
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    fn float(&mut self, opcode: u8) -> Step {
        let value = if opcode == op::BINFLOAT {
            f64::from_be_bytes(self.reader.array()?)
        } else {
            let line = self.reader.line()?;
            parse(self.tree.span(line)).ok_or("a number that cannot be read")?
        };
        self.push(Value::Float(value))
    }

    /// The texts of protocol 0. torch writes none; those without escapes are read all the same.
    fn line_of_text(&mut self, opcode: u8) -> Step {
        let mut line = self.reader.line()?;
        let bytes = self.tree.span(line);
        if bytes.contains(&b'\\') {
            return Err("a text of protocol 0 with escapes".to_owned());
        }
        if opcode == op::STRING {
            let quoted = |quote: u8| bytes.len() >= 2 && bytes.starts_with(&[quote]) && bytes.ends_with(&[quote]);
            if !quoted(b'\'') && !quoted(b'"') {
                return Err("a text of protocol 0 without quotes".to_owned());
            }
            line = Span { start: line.start + 1, len: line.len - 2 };
        }
        self.push_text(line)
    }

    fn text(&mut self, opcode: u8) -> Step {
        let len = match opcode {
            op::SHORT_BINSTRING | op::SHORT_BINUNICODE => u64::from(self.reader.byte()?),
            op::BINUNICODE8 => u64::from_le_bytes(self.reader.array()?),
            _ => u64::from(u32::from_le_bytes(self.reader.array()?)),
        };
        let span = self.reader.span(len, "a text")?;
        self.push_text(span)
    }

    /// Python 2 wrote bytes and texts alike: what is no UTF-8 is bytes.
    fn push_text(&mut self, span: Span) -> Step {
        let is_text = std::str::from_utf8(self.tree.span(span)).is_ok();
        self.push(if is_text { Value::Text(span) } else { Value::Bytes(span) })
    }

    fn bytes(&mut self, opcode: u8) -> Step {
        let len = match opcode {
            op::SHORT_BINBYTES => u64::from(self.reader.byte()?),
            op::BINBYTES => u64::from(u32::from_le_bytes(self.reader.array()?)),
            _ => u64::from_le_bytes(self.reader.array()?),
        };
        let span = self.reader.span(len, "bytes")?;
        self.push(Value::Bytes(span))
    }

    // Names, and what would be calls.

    fn global(&mut self) -> Step {
        let module = self.reader.line()?;
        let name = self.reader.line()?;
        let value = self.name(module, name)?;
        self.push(value)
    }

    fn stack_global(&mut self) -> Step {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (module, name) else {
            return Err("a name that is no text".to_owned());
        };
        let value = self.name(module, name)?;
        self.push(value)
    }

    fn name(&mut self, module: Span, name: Span) -> Result<Value, Refusal> {
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

    fn inst(&mut self) -> Step {
        let module = self.reader.line()?;
        let name = self.reader.line()?;
        let args = self.pop_mark()?;
        let callee = self.name(module, name)?;
        self.call(callee, args)
    }

    fn obj(&mut self) -> Step {
        let mut args = self.pop_mark()?;
        if args.is_empty() {
            return Err("an instance without a class".to_owned());
        }
        let callee = args.remove(0);
        self.call(callee, args)
    }

    fn reduce(&mut self) -> Step {
        let (args, callee) = (self.pop()?, self.pop()?);
        let Some(Object::Tuple(args)) = self.tree.of(args) else {
            return Err("a call whose arguments are no tuple".to_owned());
        };
        let args = args.clone();
        self.call(callee, args)
    }

    fn call(&mut self, callee: Value, args: Vec<Value>) -> Step {
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
                let entries = self.mapping_of(&args);
                self.make(Object::Dict(entries))
            }
            Name::Sequence => {
                let items = args.first().and_then(|first| self.tree.items(*first)).unwrap_or_default().to_vec();
                self.make(Object::List(items))
            }
            Name::RebuildTensor => {
                let rebuilt = tensor::rebuild(&self.tree, &args)?;
                self.make(Object::Tensor(Box::new(rebuilt)))
            }
            Name::RebuildParameter => {
                let data = args.first().copied().unwrap_or(Value::None);
                match self.tree.of(data) {
                    Some(Object::Tensor(_)) => self.push(data),
                    _ => Err("a parameter of what is no tensor".to_owned()),
                }
            }
            Name::RebuildFromType => self.rebuild_from_type(&args),
            Name::Data => self.make(Object::Inert),
            Name::Storage(_) | Name::Dtype(_) | Name::TensorClass => {
                Err("it asks to call a type of torch; torch writes no such call".to_owned())
            }
        }
    }

    /// What `OrderedDict(…)` holds: nothing, another mapping's entries, or those of a list of pairs (Python 2).
    fn mapping_of(&self, args: &[Value]) -> Vec<(Value, Value)> {
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
    fn rebuild_from_type(&mut self, args: &[Value]) -> Step {
        let [rebuild, class, arguments, ..] = args else {
            return Err("a tensor's class with too few arguments".to_owned());
        };
        if !matches!(self.tree.of(*class), Some(Object::Known(Name::TensorClass))) {
            return Err("a tensor of a class that is not known".to_owned());
        }
        match (self.tree.of(*rebuild), self.tree.of(*arguments)) {
            (Some(Object::Known(Name::RebuildTensor | Name::RebuildParameter)), Some(Object::Tuple(arguments))) => {
                let arguments = arguments.clone();
                self.call(*rebuild, arguments)
            }
            _ => Err("a tensor that is rebuilt in a way that is not known".to_owned()),
        }
    }

    /// Attributes for an object. They matter only for `ParameterDict`, whose entries are one of them.
    fn build(&mut self) -> Step {
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

    fn persistent(&mut self) -> Step {
        let id = self.pop()?;
        let storage = tensor::storage(&self.tree, id)?;
        self.make(Object::Storage(Box::new(storage)))
    }
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, Refusal> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".to_owned());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// A name from the file, cut so that an error stays a sentence.
fn readable(module: &str, name: &str) -> String {
    format!("{module}.{name}").chars().filter(|c| !c.is_control()).take(120).collect()
}
