//! The limit of each attempt: the policy's, or what is left for the whole chain.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest};
use crate::providers::{Call, Error, ErrorKind, Provider};

/// Ends an attempt that takes too long by dropping it.
pub(super) struct Timeout {
    inner: Arc<dyn Provider>,
    limit: Duration,
}

impl Timeout {
    pub(super) fn new(inner: Arc<dyn Provider>, limit: Duration) -> Self {
        Self { inner, limit }
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
        tokio::time::timeout(limit, self.inner.generate(request, call)).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {} ms", limit.as_millis())))
        })
    }
}
