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
        let mut whole: Option<Generation> = None;
        let mut done = 0;
        while let Some(left) = NonZeroU32::new(request.count.get() - done) {
            let count = left.min(most);
            let seed = request.seed.map(|seed| seed.offset(done));
            let part = GenerationRequest { count, seed, ..request.clone() };
            let made = self.inner.generate(&part, &call.from_picture(done)).await?;
            match &mut whole {
                Some(whole) => add(whole, made),
                None => whole = Some(made),
            }
            done += count.get();
        }
        Ok(whole.unwrap_or_default())
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
    // A sum that lacks a part is not known: it would be told as less than it was.
    whole.usage = whole.usage.zip(part.usage).map(|(before, usage)| before + usage);
    whole.cost_usd = whole.cost_usd.zip(part.cost_usd).map(|(before, cost)| before + cost);
}
