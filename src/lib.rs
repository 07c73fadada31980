//! Easel: one door to every picture model its owner can use.
//!
//! The rooms and what each may know of the others stand in `docs/ARCHITECTURE.md`; `tests/architecture.rs` holds them.

pub mod api;
pub mod app;
mod byte_size;
pub mod container;
pub mod fetch;
pub mod gateway;
pub mod generation;
pub mod metrics;
mod nearest;
pub mod providers;
pub mod secret;
pub mod settings;
pub mod state;
pub mod store;
pub mod telemetry;
mod tls;
