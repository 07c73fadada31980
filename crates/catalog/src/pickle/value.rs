//! What a pickle says, as values. Objects lie in one list and point to each other by number, so that neither sharing nor
//! loops nor depth can hurt whoever builds or drops them.

use crate::tensor_type::TensorType;

use super::globals::Name;

/// A piece of the pickle's own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub len: u32,
}

/// The number of an object in its [`Tree`].
pub(crate) type Id = u32;

/// One value. Small, and copied freely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number of more than 64 bits, little-endian, signed.
    Big(Span),
    Float(f64),
    /// Text, known to be UTF-8.
    Text(Span),
    Bytes(Span),
    Object(Id),
}

/// A value that has parts.
#[derive(Debug)]
pub(crate) enum Object {
    Tuple(Vec<Value>),
    /// A list, or a set.
    List(Vec<Value>),
    /// A mapping in the order of its making; keys may stand twice.
    Dict(Vec<(Value, Value)>),
    /// A name that is known.
    Known(Name),
    /// A name that is not known: inert.
    Foreign {
        module: Span,
        name: Span,
    },
    /// An instance of a class whose contents do not matter.
    Inert,
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
}

/// The bytes that tensors lie in, as the pickle describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    /// The type of the elements; `None` where only bytes are meant.
    pub dtype: Option<TensorType>,
    /// The container's name for the bytes.
    pub key: Span,
    /// Elements, or bytes.
    pub count: u64,
    /// First element and number of elements of a view into the storage, as torch before 0.4 wrote them.
    pub view: Option<(u64, u64)>,
}

/// A tensor as the pickle describes it, with nothing checked but its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub storage: Id,
    /// The type of the elements, where it is not the storage's.
    pub dtype: Option<TensorType>,
    /// First element, counted in elements of the storage.
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// All objects of a pickle, over its bytes.
#[derive(Debug)]
pub(crate) struct Tree<'p> {
    pub bytes: &'p [u8],
    pub objects: Vec<Object>,
}

impl<'p> Tree<'p> {
    pub fn object(&self, id: Id) -> Option<&Object> {
        self.objects.get(id as usize)
    }

    /// The object that a value stands for.
    pub fn of(&self, value: Value) -> Option<&Object> {
        if let Value::Object(id) = value { self.object(id) } else { None }
    }

    pub fn span(&self, span: Span) -> &'p [u8] {
        let start = span.start as usize;
        self.bytes.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// The text of a span; only spans known to be UTF-8 are texts.
    pub fn text(&self, span: Span) -> &'p str {
        std::str::from_utf8(self.span(span)).unwrap_or_default()
    }

    /// The items of a tuple, or of a list.
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        match self.of(value)? {
            Object::Tuple(items) | Object::List(items) => Some(items),
            Object::Dict(_)
            | Object::Known(_)
            | Object::Foreign { .. }
            | Object::Inert
            | Object::Storage(_)
            | Object::Tensor(_) => None,
        }
    }

    /// The entries of a mapping.
    pub fn entries(&self, value: Value) -> Option<&[(Value, Value)]> {
        if let Object::Dict(entries) = self.of(value)? { Some(entries) } else { None }
    }

    /// What a mapping says under this key.
    pub fn get(&self, mapping: Value, key: &str) -> Option<Value> {
        let is_key = |name: &Value| matches!(name, Value::Text(span) if self.text(*span) == key);
        self.entries(mapping)?.iter().rev().find_map(|(name, value)| is_key(name).then_some(*value))
    }
}
