//! Runware over its REST interface: one address, to which lists of tasks are sent.
//! <https://runware.ai/docs>
//!
//! One call, one task: repeating, splitting and checking pictures is the layers' business. What is this provider's own
//! is that a task has an identity, by which what became of it can be asked for when its answer was lost.

mod air;
mod answer;
mod attempt;
mod client;
mod config;
mod error;
mod gathered;
mod open_tasks;
mod schedulers;
mod wire;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use config::Config;

use super::{ApiKey, Call, Error, ErrorKind, Provider};
use crate::fetch::{self, FetchError, Fetcher, Origin};
use crate::generation::{Availability, Capabilities, GeneratedImage, Generation, GenerationRequest, ModelKey, Seed};
use crate::secret::Secret;
use answer::Picture;
use attempt::Attempt;
use client::Client;
use config::OnFlag;
use gathered::Gathered;
use open_tasks::OpenTasks;
use wire::{Habits, Task, WireModel};

/// The vendor with one key to it.
pub struct Runware {
    vendor: Arc<Vendor>,
    key: ApiKey,
}

/// What is the same for all keys.
struct Vendor {
    capabilities: Arc<Capabilities>,
    /// How each declared model is asked.
    models: HashMap<ModelKey, WireModel>,
    /// How a model is asked that is named by its vendor's name; `None` where that is not wished.
    open_model: Option<WireModel>,
    habits: Habits,
    on_flag: OnFlag,
    client: Client,
    fetcher: Arc<Fetcher>,
    /// The vendor's own origin, from which results are taken even where it is no public address.
    origin: Option<Origin>,
    open_tasks: OpenTasks,
}

#[async_trait]
impl Provider for Runware {
    fn capabilities(&self) -> Arc<Capabilities> {
        Arc::clone(&self.vendor.capabilities)
    }

    fn is_available(&self) -> Availability {
        self.key.missing().cloned().unwrap_or(Availability::Available)
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let vendor = &self.vendor;
        let task = vendor.model(&call.model)?.task(request, vendor.habits)?;
        let mut open = vendor.open_tasks.open(request, call, self.secret()?);
        let attempt = Attempt { client: &vendor.client, task: &task, request, call };
        let gathered = attempt.run(&mut open).await?;
        match vendor.generation(gathered, &task, request).await {
            Ok(generation) => {
                open.close();
                Ok(generation)
            }
            Err(Unmade { error, is_final }) => {
                // What exists and could not be fetched is asked for again, not made again.
                if is_final {
                    open.close();
                }
                Err(error)
            }
        }
    }
}

impl Runware {
    fn secret(&self) -> Result<&Secret, Error> {
        self.key.secret().ok_or_else(|| match self.key.missing() {
            Some(Availability::Unavailable { detail, remedy, .. }) => {
                Error::new(ErrorKind::Unauthorized, detail).with_hint(remedy)
            }
            Some(Availability::Available) | None => Error::new(ErrorKind::Unauthorized, "there is no key"),
        })
    }
}

impl Vendor {
    fn model(&self, key: &ModelKey) -> Result<Cow<'_, WireModel>, Error> {
        if let Some(model) = self.models.get(key) {
            return Ok(Cow::Borrowed(model));
        }
        let open = self.open_model.as_ref().filter(|_| air::is_air(key.as_str()));
        let open = open.map(|model| Cow::Owned(WireModel { air: key.as_str().to_owned(), ..model.clone() }));
        open.ok_or_else(|| {
            Error::new(ErrorKind::ModelNotFound, format!("there is no model {key} in the configuration"))
        })
    }

    async fn generation(
        &self,
        mut gathered: Gathered,
        task: &Task,
        request: &GenerationRequest,
    ) -> Result<Generation, Unmade> {
        let failure = gathered.failure().filter(|_| !gathered.is_complete(request.count));
        if let Some(error) = failure {
            return Err(error.into());
        }
        if gathered.made.is_empty() {
            return Err(Error::new(ErrorKind::NoImage, "the provider answered without a picture").into());
        }
        if self.on_flag == OnFlag::Refuse && gathered.made.iter().any(|made| made.is_flagged) {
            let charged = gathered.charged();
            tracing::warn!(cost_usd = charged, "pictures were charged and are withheld because they are flagged");
            return Err(error::flagged(charged).into());
        }
        gathered.order_by_seed(task.seed);
        let cost_usd = gathered.cost();
        let mut images = Vec::with_capacity(gathered.made.len());
        for (index, made) in gathered.made.into_iter().enumerate() {
            // The first picture comes from the seed that was sent, also where the answer does not repeat it.
            let sent = task.seed.filter(|_| index == 0);
            let seed = made.seed.map_or(sent, Seed::new);
            let image = match made.picture? {
                Picture::Here(image) => GeneratedImage { seed, ..image },
                Picture::At(url) => self.fetch(&url, seed).await?,
            };
            images.push(image);
        }
        Ok(Generation { images, ignored: task.ignored.clone(), cost_usd, ..Generation::default() })
    }

    async fn fetch(&self, url: &str, seed: Option<Seed>) -> Result<GeneratedImage, Unmade> {
        let fetched = self.fetcher.picture(url, self.origin.as_ref()).await;
        let fetch::Picture { bytes, format, size } = fetched.map_err(|error| {
            let is_final = match &error {
                FetchError::Dns | FetchError::Connect(_) | FetchError::Timeout(_) | FetchError::BrokenOff => false,
                FetchError::Status(status) => *status < 500,
                FetchError::BadUrl(_)
                | FetchError::Scheme
                | FetchError::ForbiddenAddress
                | FetchError::TooLarge(_)
                | FetchError::TooManyRedirects(_)
                | FetchError::Expired(_)
                | FetchError::NotAPicture
                | FetchError::TooManyPixels { .. }
                | FetchError::Broken(_) => true,
            };
            Unmade { error: error.into(), is_final }
        })?;
        Ok(GeneratedImage { data: bytes.into(), format, size, seed })
    }
}

/// Why a task that was answered has brought no pictures.
struct Unmade {
    error: Error,
    /// Whether that is all there is to it; if not, its pictures exist and may be had later.
    is_final: bool,
}

impl From<Error> for Unmade {
    fn from(error: Error) -> Self {
        Self { error, is_final: true }
    }
}
