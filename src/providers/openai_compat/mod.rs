//! Anything that speaks the `OpenAI` Images API (`POST {base_url}/images/generations`).
//! <https://platform.openai.com/docs/api-reference/images/create>
//!
//! One call, one request, one answer: repeating, splitting and checking pictures is the layers' business.

mod client;
mod config;
mod error;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use config::Config;

use super::{Call, Error, ErrorKind, Provider};
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ModelKey};
use client::Client;
use wire::WireModel;

/// One upstream with its models.
pub struct OpenAiCompat {
    capabilities: Arc<Capabilities>,
    /// What each model is called upstream and how it is asked.
    models: Arc<HashMap<ModelKey, WireModel>>,
    client: Client,
    /// Why no key can be sent where one is configured.
    missing_key: Option<Availability>,
}

#[async_trait]
impl Provider for OpenAiCompat {
    fn capabilities(&self) -> Arc<Capabilities> {
        Arc::clone(&self.capabilities)
    }

    fn is_available(&self) -> Availability {
        self.missing_key.clone().unwrap_or(Availability::Available)
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        if let Some(Availability::Unavailable { detail, remedy, .. }) = &self.missing_key {
            return Err(Error::new(ErrorKind::Unauthorized, detail).with_hint(remedy));
        }
        let model = self.models.get(&call.model).ok_or_else(|| {
            Error::new(ErrorKind::ModelNotFound, format!("there is no model {} in the configuration", call.model))
        })?;
        let answer = self.client.post(&model.request(request), call).await?;
        wire::read(answer, request.seed).await
    }
}
