//! A count above what the model makes in one call becomes several calls, one after the other.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest};
use crate::providers::{Call, Error, Provider};

/// Splits large counts. One after the other, so that a provider's own limits are not run into by our doing.
pub(super) struct Split {
    inner: Arc<dyn Provider>,
}

impl Split {
    pub(super) fn new(inner: Arc<dyn Provider>) -> Self {
        Self { inner }
    }

    fn max_count(&self, call: &Call) -> Option<NonZeroU32> {
        self.inner.capabilities().find(call.model.as_str())?.limits.max_count
    }
}

#[async_trait]
impl Provider for Split {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let Some(most) = self.max_count(call).filter(|most| *most < request.count) else {
            return self.inner.generate(request, call).await;
        };
        let mut whole = Generation::default();
        let mut done = 0;
        while let Some(left) = NonZeroU32::new(request.count.get() - done) {
            let count = left.min(most);
            let seed = request.seed.map(|seed| seed.offset(done));
            let part = GenerationRequest { count, seed, ..request.clone() };
            add(&mut whole, self.inner.generate(&part, call).await?);
            done += count.get();
        }
        Ok(whole)
    }
}

fn add(whole: &mut Generation, part: Generation) {
    whole.images.extend(part.images);
    for wish in part.ignored {
        if !whole.ignored.contains(&wish) {
            whole.ignored.push(wish);
        }
    }
    for warning in part.warnings {
        if !whole.warnings.contains(&warning) {
            whole.warnings.push(warning);
        }
    }
    whole.usage = match (whole.usage, part.usage) {
        (Some(before), Some(usage)) => Some(before + usage),
        (known, None) | (None, known) => known,
    };
    whole.cost_usd = match (whole.cost_usd, part.cost_usd) {
        (Some(before), Some(cost)) => Some(before + cost),
        (known, None) | (None, known) => known,
    };
}
