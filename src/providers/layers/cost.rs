//! What a turn cost: what the provider says, else what the price table knows.

use std::sync::Arc;

use async_trait::async_trait;

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest};
use crate::providers::{Call, Error, ModelPrices, Provider};

/// Fills in the cost of pictures whose provider did not tell it.
pub(super) struct Cost {
    inner: Arc<dyn Provider>,
    prices: ModelPrices,
}

impl Cost {
    pub(super) fn new(inner: Arc<dyn Provider>, prices: ModelPrices) -> Self {
        Self { inner, prices }
    }

    fn of(&self, generation: &Generation, call: &Call) -> Option<f64> {
        // What a provider reports is its own bill, but a sum that cannot be is none.
        let reported = generation.cost_usd.filter(|cost| cost.is_finite() && *cost >= 0.0);
        reported.or_else(|| {
            let capabilities = self.inner.capabilities();
            let model = capabilities.find(call.model.as_str())?;
            self.prices.cost(model.price_key.as_deref()?, generation)
        })
    }
}

#[async_trait]
impl Provider for Cost {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let mut generation = self.inner.generate(request, call).await?;
        generation.cost_usd = self.of(&generation, call);
        Ok(generation)
    }
}
