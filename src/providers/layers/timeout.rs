//! The limit of each attempt: the policy's, or what is left for the whole chain.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ProviderId};
use crate::providers::{Call, Error, ErrorKind, Provider};

/// Ends an attempt that takes too long by dropping it.
pub(super) struct Timeout {
    inner: Arc<dyn Provider>,
    id: ProviderId,
    limit: Duration,
}

impl Timeout {
    pub(super) fn new(inner: Arc<dyn Provider>, id: ProviderId, limit: Duration) -> Self {
        Self { inner, id, limit }
    }

    /// The end of an attempt that had this much time.
    fn over(&self, limit: Duration) -> Error {
        let error = Error::new(ErrorKind::Timeout, format!("no answer within {} ms", limit.as_millis()));
        if limit < self.limit {
            return error;
        }
        let raise = format!("raise providers.{}.policy.timeout where pictures take longer", self.id);
        error.with_hint(format!("try again, or allow \"fallback\": \"auto\", or {raise}"))
    }
}

#[async_trait]
impl Provider for Timeout {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let limit = self.limit.min(call.remaining());
        tokio::time::timeout(limit, self.inner.generate(request, call)).await.unwrap_or_else(|_| Err(self.over(limit)))
    }
}
