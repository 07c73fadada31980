//! Diffusion on libtorch: opens models from folders and single files, makes pictures with them, and serves that over a Unix
//! socket. It knows no gateway and no provider.

pub mod adapters;
pub mod cli;
pub mod config;
mod dump;
pub mod error;
pub mod keymap;
pub mod models;
pub mod nn;
pub mod parts;
pub mod pictures;
pub mod pipelines;
pub mod png;
pub mod pool;
pub mod precision;
pub mod prompt;
pub mod schedulers;
pub mod server;
pub mod tokenizer;
pub mod weights;
pub mod worker;

pub use error::{Error, Result};
