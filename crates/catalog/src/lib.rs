//! Which model files exist and what each one is: containers of weights, folders, look-ups, identities.
//! The only reader of model file headers in Easel. It reads headers, never weights, and must know no libtorch and no HTTP.

mod bytes;
mod component;
mod contents;
mod error;
mod folder;
pub mod identify;
mod json;
mod names;
mod pickle;
mod safetensors;
mod source;
mod tensor_file;
mod tensor_type;
mod torch_legacy;
mod torch_zip;
mod verify;

pub use component::Component;
pub use contents::{MAX_TENSORS, TensorInfo};
pub use error::{Error, Result};
pub use folder::DiffusersFolder;
pub use identify::{Identity, identify, identify_file};
pub use safetensors::MAX_HEADER_BYTES;
pub use source::{Lookup, ModelSource, find_model};
pub use tensor_file::{Container, TensorFile};
pub use tensor_type::TensorType;
pub use verify::verify;
