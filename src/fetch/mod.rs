//! Fetching a picture from a URL that a caller or an upstream gave: the one place that follows such a URL.
//!
//! It never connects to an address that is not public unless the configuration names its origin, never sends a secret,
//! a cookie or a referrer, and never believes what the other side says about its answer. `docs/FETCHING.md` has the
//! rules.

mod address;
mod body;
mod client;
mod error;
mod fetcher;
mod origin;
mod resolve;

#[cfg(test)]
mod tests;

pub use error::FetchError;
pub use fetcher::{Fetcher, Picture, Rules};
pub use origin::{NoOrigin, Origin};
pub use resolve::{Resolve, SystemResolver};
