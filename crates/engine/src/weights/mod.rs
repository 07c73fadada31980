//! The weights of a component as tensors that are views of the mapped files. It reads no header itself
//! (the catalogue has checked them) and never writes to a tensor.

mod map;
mod scope;
#[cfg(test)]
mod tests;
mod weight;

pub use map::WeightMap;
pub use scope::Scope;
pub use weight::{Pages, Weight};
