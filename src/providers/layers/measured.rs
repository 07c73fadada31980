//! What becomes of each turn, for the figures. It changes nothing.

use std::sync::Arc;

use async_trait::async_trait;

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ModelKey};
use crate::metrics::{OTHER, ProviderMetrics};
use crate::providers::{Call, Error, Provider};

/// Counts turns and their upstream calls.
pub(super) struct Measured {
    inner: Arc<dyn Provider>,
    metrics: ProviderMetrics,
}

impl Measured {
    pub(super) fn new(inner: Arc<dyn Provider>, metrics: ProviderMetrics) -> Self {
        Self { inner, metrics }
    }

    /// The model as a label: one that the configuration does not list could be any text.
    fn label(&self, key: &ModelKey) -> String {
        let listed = self.inner.capabilities().models.iter().any(|model| model.key == *key);
        if listed { key.as_str().to_owned() } else { OTHER.to_owned() }
    }
}

/// Counts the calls of a turn when it ends, also when it is given up.
struct Calls<'a> {
    metrics: &'a ProviderMetrics,
    model: &'a str,
    call: &'a Call,
    before: u32,
}

impl Drop for Calls<'_> {
    fn drop(&mut self) {
        self.metrics.count_calls(self.model, self.call.upstream_calls().saturating_sub(self.before));
    }
}

#[async_trait]
impl Provider for Measured {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let model = self.label(&call.model);
        let turn = self.metrics.begin(&model);
        let calls = Calls { metrics: &self.metrics, model: &model, call, before: call.upstream_calls() };
        let result = self.inner.generate(request, call).await;
        drop(calls);
        if let Some(cost) = result.as_ref().ok().and_then(|generation| generation.cost_usd) {
            self.metrics.count_cost(&model, cost);
        }
        turn.ended(result.as_ref().err().map_or("ok", |error| error.kind().category()));
        result
    }
}
