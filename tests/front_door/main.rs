//! The gateway through its front door: its own binary, real connections, the stand-in as its upstream.
//!
//! One test binary for all of it, because linking the gateway's tests one by one would take longer than running them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod addresses;
mod availability;
mod bad_bodies;
mod bad_input;
mod broken_models;
mod cache;
mod choosing;
mod coalescing;
mod easel;
mod events;
mod fallback;
mod idempotency;
mod leaving;
mod local_engine;
mod local_models;
mod local_work;
mod logs;
mod runware;
mod shipped_config;
mod shutdown;
mod single_files;
mod two_easels;
mod upstreams;
