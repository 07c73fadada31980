//! What a provider is: the trait, its error, and the list of kinds. Nothing here knows an HTTP status of ours.

mod call;
mod declared;
mod error;
mod fetched;
mod gemini;
mod http;
mod keys_config;
mod kind;
pub mod layers;
mod local;
mod openai_compat;
mod policy;
mod prices;
#[cfg(test)]
pub(crate) mod replay;
pub mod retry_after;
mod runware;
#[cfg(test)]
pub(crate) mod scripted;
mod upstream;

use std::sync::Arc;

use async_trait::async_trait;

pub use call::{Call, Turn};
pub use error::{Error, ErrorKind, Recovery};
pub use keys_config::{ApiKey, ApiKeys};
pub use kind::{BuildError, Built, Environment, Kind, KindConfig};
pub use policy::{BreakerPolicy, Policy};
pub use prices::{ModelPrices, Prices};

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest};

/// Every kind of provider in this build. Adding one is a folder, a `mod` and a line here.
pub const KINDS: &[Kind] = &[
    Kind::of::<gemini::Config>(),
    Kind::of::<local::Config>(),
    Kind::of::<openai_compat::Config>(),
    Kind::of::<runware::Config>(),
];

/// Something that makes pictures. Nothing else is ever asked of it.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its models and what they can do.
    fn capabilities(&self) -> Arc<Capabilities>;

    /// Whether it can make a picture now: synchronous, no I/O, deterministic in configuration and observed state.
    fn is_available(&self) -> Availability;

    /// Makes the pictures of `request` with the model that `call` names. Dropping the future cancels the work.
    ///
    /// # Errors
    /// Whatever kept it from making all of them.
    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error>;
}
