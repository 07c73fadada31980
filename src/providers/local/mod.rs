//! The engine on this machine: an `easel-engine` process of our own, started on first use and spoken to over a Unix
//! socket. This side knows which models are declared and where they lie; it computes nothing.

mod adapters;
mod config;
mod digest;
mod engine;
mod environment;
mod error;
mod events;
mod installed;
mod job;
mod launch;
mod library;
mod log;
mod places;
mod supervisor;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use config::Config;

use super::{Call, Error, ErrorKind, Provider};
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ModelKey};
use adapters::Adapters;
use error::engine_ended;
use job::LocalModel;
use supervisor::Supervisor;

/// How long the end of the engine's process may take to be noticed after its connection broke.
const NOTICE: Duration = Duration::from_millis(300);

/// One engine with the models that are declared for it.
pub struct Local {
    capabilities: Arc<Capabilities>,
    /// The models whose files are here.
    models: HashMap<ModelKey, LocalModel>,
    /// Where adapters are found.
    adapters: Arc<Adapters>,
    supervisor: Supervisor,
}

#[async_trait]
impl Provider for Local {
    fn capabilities(&self) -> Arc<Capabilities> {
        Arc::clone(&self.capabilities)
    }

    fn is_available(&self) -> Availability {
        if self.models.is_empty() {
            return Availability::Unavailable {
                reason: "no_model",
                detail: "none of the declared models is installed".to_owned(),
                remedy: self.first_remedy(),
            };
        }
        self.supervisor.availability()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let model = self.models.get(&call.model).ok_or_else(|| {
            Error::new(ErrorKind::ModelNotFound, format!("the model {} is not installed", call.model))
        })?;
        let previews = if call.wants_partials() { request.partial_images } else { 0 };
        let job = model.job(request, &self.adapters, previews)?;
        let mut lease = self.supervisor.lease()?;
        lease.engine().ready().await?;
        call.count_upstream_call();
        let events = match lease.engine().generate(&job.body).await {
            Ok(events) => events,
            // It ended before it took the job, which was not noticed yet: its successor gets it.
            Err(_) if lease.engine().ends_within(NOTICE).await => {
                lease = self.supervisor.lease()?;
                lease.engine().ready().await?;
                lease.engine().generate(&job.body).await.map_err(|error| engine_ended().with_source(error))?
            }
            Err(error) => return Err(engine_ended().with_source(error)),
        };
        let generation = events::read(events, &job.places, &request.loras, call).await;
        if generation.is_err() {
            // So that whoever asks next finds the end noticed.
            lease.engine().ends_within(NOTICE).await;
        }
        let generation = generation?;
        lease.note_success();
        Ok(Generation { ignored: job.ignored, ..generation })
    }
}

impl Local {
    fn first_remedy(&self) -> String {
        use crate::generation::Installed;
        let mut remedies = self.capabilities.models.iter().filter_map(|model| match &model.installed {
            Installed::Yes => None,
            Installed::No { remedy, .. } => Some(remedy.clone()),
        });
        remedies.next().unwrap_or_else(|| "declare a model in the configuration".to_owned())
    }
}
