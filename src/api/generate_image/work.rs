//! What is done for one request once it is known what it asks.

use actix_web::web;

use super::answer::Answer;
use super::pictures::GivenPictures;
use crate::api::State;
use crate::api::error::ApiError;
use crate::api::request_id::RequestId;
use crate::gateway::{Outcome, Scope, Watcher};
use crate::generation::GenerationRequest;

/// One request on its way to its answer.
pub(super) struct Work {
    pub(super) state: web::Data<State>,
    pub(super) request_id: RequestId,
    pub(super) scope: Scope,
    pub(super) wished: GenerationRequest,
    pub(super) given: GivenPictures,
    /// What the addresses of the pictures begin with, where addresses are asked for.
    pub(super) base: Option<String>,
}

impl Work {
    /// The answer. Dropping the future gives the work up, as [`crate::gateway::Gateway::generate`] has it.
    pub(super) async fn done(self, watcher: Option<Watcher>) -> Result<Answer, ApiError> {
        let Self { state, request_id, scope, mut wished, given, base } = self;
        given.read(&state.fetcher, &mut wished).await?;
        let mut outcome = state.gateway.shown(&wished, request_id.as_str(), &scope, watcher).await?;
        let urls = match base {
            Some(base) => addresses(&state, &mut outcome, &base).await,
            None => Vec::new(),
        };
        Ok(Answer { outcome, urls, target: wished.target, request_id })
    }
}

/// Keeps the pictures for whoever fetches them. What cannot be kept is sent in the answer: it has been paid for.
async fn addresses(state: &State, outcome: &mut Outcome, base: &str) -> Vec<Option<String>> {
    let images = &outcome.generation.images;
    let urls = state.pictures.keep(images, base).await;
    for index in 0..images.len() {
        if urls.get(index).is_none_or(Option::is_none) {
            let warning = format!("picture {index} could not be stored, so it is sent in place of its url");
            outcome.generation.warnings.push(warning);
        }
    }
    urls
}
