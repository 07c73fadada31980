//! Which model files exist and what each one is: folders in diffusers layout, safetensors headers, look-ups.
//! The only reader of model file headers in Easel. It reads headers, never weights, and must know no libtorch and no HTTP.

mod component;
mod error;
mod folder;
mod json;
mod safetensors;
mod source;
mod tensor_file;
mod tensor_type;
mod verify;

pub use component::Component;
pub use error::{Error, Result};
pub use folder::DiffusersFolder;
pub use safetensors::{MAX_HEADER_BYTES, MAX_TENSORS};
pub use source::{Lookup, ModelSource, find_model};
pub use tensor_file::{Container, TensorFile, TensorInfo};
pub use tensor_type::TensorType;
pub use verify::verify;
