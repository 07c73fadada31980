//! Stand-ins for the picture services that Easel asks, with faults on demand: for tests, benches and the demo profile.
//!
//! One port plays them all ([`Vendor`]): each speaks its vendor's wire format, refuses what its vendor refuses, draws
//! whole pictures of the asked size, counts and records what it is asked, and fails in every [`Fault`]'s way. It writes
//! HTTP/1.1 by itself, because a server library would not let it send half a body or reset a connection. It must not be
//! used as a real server, and it knows nothing of Easel beyond the two routes that another Easel would ask.
//!
//! ```no_run
//! # async fn example() {
//! use provider_sim::{Behaviour, Fault, Simulator, Vendor};
//!
//! let upstream = Simulator::start().await;
//! upstream.set(Behaviour::failing(Fault::Reset).times(1));
//! // … ask `upstream.url(Vendor::Runware)` …
//! assert_eq!(upstream.hits(), 1);
//! # }
//! ```

mod admin;
mod answer;
mod behaviour;
mod counts;
mod dialects;
mod fault;
mod gemini;
mod http;
mod image_in;
mod json;
mod log;
mod openai;
mod picture;
mod pictures;
mod runware;
mod server;
mod simulator;
mod state;
mod vendor;
mod wire;

pub use behaviour::{Behaviour, parse_bytes, parse_duration};
pub use counts::Counts;
pub use fault::{Fault, Spelling};
pub use http::Request;
pub use picture::Picture;
pub use simulator::Simulator;
pub use vendor::Vendor;
