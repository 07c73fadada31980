//! The few calls into libtorch that `tch` does not offer: private generators of random numbers, memory formats, the
//! choice of attention kernels, the memory of tensors on the CPU, what it does in many passes over that memory, in one, and how it rounds.
//! C++ behind a safe face; it knows nothing of models.
//!
//! Beside the engine's mapped weights this is the only unsafe code of Easel, and all of it is in the callers of `ffi`: each
//! block says why it is sound. Everything works with libtorch's CPU half alone.

mod attention;
mod error;
mod ffi;
mod format;
mod generator;
pub mod kernels;
pub mod memory;
pub mod rounded;

pub use attention::Attention;
pub use error::{Error, Result};
pub use format::MemoryFormat;
pub use generator::Generator;
