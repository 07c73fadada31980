//! Pickles read as values. A pickle is a program for a stack machine whose instructions may call any Python function;
//! this machine has no function to call. It builds a tree of numbers, texts and containers, knows the few names that
//! a state dict consists of ([`globals`]), keeps other names as inert tokens, and refuses what could only be an attack.
//! It must never do what a pickle asks for, and never take more time or memory than its limits allow.
//!
//! Instructions: <https://github.com/python/cpython/blob/main/Lib/pickletools.py>; what torch writes with them:
//! <https://github.com/pytorch/pytorch/blob/main/torch/serialization.py> and `torch/_utils.py`.

use std::collections::BTreeSet;

mod calls;
mod flatten;
mod globals;
mod machine;
mod opcode;
mod place;
mod reader;
mod scalars;
mod stdlib;
mod tensor;
mod value;

pub(crate) use flatten::state_dict;
pub(crate) use machine::{Output, run};
pub(crate) use place::{Extent, infos};
pub(crate) use value::{Object, Storage, Tree, Value};

/// What is told about names that mean nothing here.
pub(crate) fn warnings(foreign: &BTreeSet<String>) -> Vec<String> {
    foreign.iter().map(|name| format!("it mentions `{name}`, which is not read")).collect()
}

/// The longest pickle that is read; SDXL's is half a MiB.
pub(crate) const MAX_PICKLE_BYTES: u64 = 8 << 20;

/// What one pickle may make of the machine. Together they keep a hostile pickle below 48 MiB and a second: a tensor
/// takes about 8 objects, 20 items and 60 instructions, so there is room for more tensors than `MAX_TENSORS`' half.
mod limits {
    /// Instructions.
    pub const INSTRUCTIONS: usize = 2_000_000;
    /// Containers, names, tensors: whatever is no plain value.
    pub const OBJECTS: usize = 1 << 18;
    /// Values in all containers together.
    pub const ITEMS: usize = 1 << 19;
    /// Values on the stack, marks included.
    pub const STACK: usize = 1 << 17;
    /// Values that are remembered.
    pub const MEMO: usize = 1 << 18;
    /// Containers inside each other.
    pub const DEPTH: u16 = 100;
    /// Bytes of one text or number.
    pub const TEXT: u64 = 1 << 20;
    /// Axes of a tensor.
    pub const AXES: usize = 16;
}
