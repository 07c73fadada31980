//! Anything that speaks the `OpenAI` Images API (`POST {base_url}/images/generations` and `/images/edits`), in several
//! dialects, and another Easel.
//! <https://platform.openai.com/docs/api-reference/images>
//!
//! One call, one request, one answer: repeating, splitting and checking pictures is the layers' business.

mod answer;
mod client;
mod config;
mod dialect;
mod easel;
mod error;
mod extra;
mod model_config;
mod pictures;
mod refusal;
mod request;
mod rules;
mod stream;
mod understood;
mod usage;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use config::Config;

use super::{Call, Error, ErrorKind, Provider};
use crate::fetch::Fetcher;
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ModelKey};
use answer::Expected;
use client::Client;
use easel::EaselModel;
use request::WireModel;

/// One upstream with its models.
pub struct OpenAiCompat {
    capabilities: Arc<Capabilities>,
    /// What each model is called upstream and how it is asked.
    models: Arc<HashMap<ModelKey, Spoken>>,
    upstream: Upstream,
    /// Why no key can be sent where one is configured.
    missing_key: Option<Availability>,
}

/// Who is asked, and who fetches what it only names.
struct Upstream {
    client: Client,
    fetcher: Arc<Fetcher>,
}

/// A model by the API that it is asked by.
enum Spoken {
    Images(Box<WireModel>),
    Easel(EaselModel),
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
        match self.models.get(&call.model) {
            Some(Spoken::Images(model)) => self.upstream.images(model, request, call).await,
            Some(Spoken::Easel(model)) => easel::generate(&self.upstream, model, request, call).await,
            None => {
                let message = format!("there is no model {} in the configuration", call.model);
                Err(Error::new(ErrorKind::ModelNotFound, message))
            }
        }
    }
}

impl Upstream {
    /// Asks by the Images API.
    async fn images(&self, model: &WireModel, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        // Nothing is streamed when nobody looks: it costs tokens.
        let previews = if call.wants_partials() { request.partial_images } else { 0 };
        let prepared = model.prepare(request, previews).await?;
        let headers = client::usual_headers(prepared.is_streamed, "x-client-request-id", &call.request_id);
        let response = match self.client.post(&prepared.path, prepared.body, &headers, call).await? {
            Ok(response) => client::refuse_page(response)?,
            Err(refused) => {
                let had_pictures = request.image.is_some() || !request.reference_images.is_empty();
                return Err(error::of_answer(&refused, had_pictures, self.client.key()));
            }
        };
        let own = self.client.origin();
        let expected = Expected {
            seed: request.seed.filter(|_| !prepared.ignored.contains(&crate::generation::Wish::Seed)),
            seeds_count_up: model.seeds_count_up,
            fetcher: &self.fetcher,
            own: own.as_ref(),
            key: self.client.key(),
        };
        let mut generation = if prepared.is_streamed {
            self.events(response, request, call, &expected).await?
        } else {
            answer::read(client::whole(response).await?, &expected).await?
        };
        generation.ignored = prepared.ignored;
        Ok(generation)
    }

    /// Reads the answer to a request for events, which a server need not give because it was asked to.
    async fn events(
        &self,
        mut response: reqwest::Response,
        request: &GenerationRequest,
        call: &Call,
        expected: &Expected<'_>,
    ) -> Result<Generation, Error> {
        let first = response.chunk().await.map_err(super::upstream::of_body)?.unwrap_or_default();
        if client::is_event_stream(&response, &first) {
            stream::read(first, response, request, call, expected).await
        } else {
            answer::read(client::rest(&first, response).await?, expected).await
        }
    }
}
