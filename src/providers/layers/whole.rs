//! A success is the asked count of whole pictures of the asked size. Containers are walked, pixels never decoded.

use std::sync::Arc;

use async_trait::async_trait;

use crate::container;
use crate::generation::{
    Availability, Capabilities, Generation, GenerationRequest, ImageSize, Model, Ratios, SizeWish,
};
use crate::providers::{Call, Error, ErrorKind, Provider};

/// Turns an answer with missing, broken or wrong pictures into a failure.
pub(super) struct Whole {
    inner: Arc<dyn Provider>,
}

impl Whole {
    pub(super) fn new(inner: Arc<dyn Provider>) -> Self {
        Self { inner }
    }

    /// The size that the provider was asked for, by the request or by the model's own default.
    fn asked(&self, request: &GenerationRequest, call: &Call) -> Option<ImageSize> {
        match request.size {
            SizeWish::Exact(size) => Some(size),
            // The gateway has made a size of every ratio by now; a ratio that is still one was sent as such.
            SizeWish::Aspect(_) => None,
            SizeWish::ModelDefault => {
                let default = |model: &Model| {
                    // What is made of a picture takes its size from there, where the provider sees to that.
                    let is_own = request.image.is_some() && model.limits.ratios == Ratios::Passed;
                    model.defaults.size.filter(|_| model.supports.size.is_sent() && !is_own)
                };
                self.inner.capabilities().find(call.model.as_str()).as_deref().and_then(default)
            }
        }
    }
}

#[async_trait]
impl Provider for Whole {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let generation = self.inner.generate(request, call).await?;
        let (asked, got) = (request.count.get() as usize, generation.images.len());
        if got < asked {
            return Err(Error::new(ErrorKind::NoImage, format!("{got} of {asked} pictures came back")));
        }
        if got > asked {
            return Err(Error::new(ErrorKind::Protocol, format!("{got} pictures came back for {asked} asked for")));
        }
        let size = self.asked(request, call);
        for (index, image) in generation.images.iter().enumerate() {
            let broken = |what: String| Error::new(ErrorKind::Protocol, format!("picture {index} {what}"));
            let found = container::walk_data(&image.data).map_err(|error| broken(error.to_string()))?;
            if found.format != image.format || found.size != image.size {
                return Err(broken("is not what its provider says it is".to_owned()));
            }
            if let Some(size) = size.filter(|size| *size != found.size) {
                return Err(broken(format!("is {} where {size} was asked for", found.size)));
            }
        }
        Ok(generation)
    }
}
