//! A stand-in for an `OpenAI` Images upstream, with faults on demand: for tests, benches and the demo profile.
//!
//! It speaks the vendor's wire format (`POST /v1/images/generations`, `GET /v1/models`), draws whole PNGs of the asked
//! size, counts and records what it is asked, and fails in every [`Fault`]'s way. It writes HTTP/1.1 by itself, because
//! a server library would not let it send half a body or reset a connection. It must not be used as a real server, and
//! it knows nothing of Easel.
//!
//! ```no_run
//! # async fn example() {
//! use provider_sim::{Behaviour, Fault, Simulator};
//!
//! let upstream = Simulator::start().await;
//! upstream.set(Behaviour::failing(Fault::Reset).times(1));
//! // … ask `upstream.base_url()` …
//! assert_eq!(upstream.hits(), 1);
//! # }
//! ```

mod admin;
mod behaviour;
mod error;
mod fault;
mod http;
mod models;
mod openai;
mod picture;
mod server;
mod simulator;
mod state;

pub use behaviour::{Behaviour, parse_bytes, parse_duration};
pub use fault::Fault;
pub use http::Request;
pub use picture::Picture;
pub use simulator::Simulator;
pub use state::Counts;
