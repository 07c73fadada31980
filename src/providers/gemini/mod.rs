//! Google's Gemini models that make and edit pictures, by `generateContent`.
//! <https://ai.google.dev/gemini-api/docs/image-generation>
//!
//! One call, one picture: repeating, splitting and checking pictures is the layers' business.

mod answer;
mod client;
mod config;
mod error;
mod sizes;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use config::Config;

use super::{Call, Error, ErrorKind, Provider};
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ModelKey, Wish};
use client::Client;
use wire::WireModel;

/// The service with its models.
pub struct Gemini {
    capabilities: Arc<Capabilities>,
    /// How each model is asked.
    models: Arc<HashMap<ModelKey, WireModel>>,
    client: Client,
    /// Why no key can be sent.
    missing_key: Option<Availability>,
}

#[async_trait]
impl Provider for Gemini {
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
        let seed = wire::seed(request)?;
        let shape = model.shape(request)?;
        let body = model.request(request, shape, seed)?;
        let answer = self.client.post(&model.endpoint, &body, call).await?;
        let mut generation = answer::read(answer, seed).await?;
        if let Some(shape) = shape {
            shape.check(&generation)?;
        }
        if request.seed.is_some() && seed.is_none() {
            generation.ignored.push(Wish::Seed);
        }
        Ok(generation)
    }
}
