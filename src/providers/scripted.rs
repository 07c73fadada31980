//! A provider for tests that does what its script says, turn by turn. It exists in tests only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::{Call, Error, ErrorKind, ModelPrices, Policy, Provider, layers};
pub(crate) use crate::container::sample::encoded;
use crate::generation::{
    Availability, Capabilities, Defaults, GeneratedImage, Generation, GenerationRequest, ImageFormat, ImageSize,
    Installed, Limits, Model, ModelKey, PartialImage, ProviderId, SizeWish, Support, Supports,
};
use crate::metrics::Metrics;

/// What happens in one turn. After the last step of a script, every turn makes pictures.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Pictures as asked.
    Pictures,
    /// Exactly these.
    Answer(Generation),
    /// This failure, with what the provider says about coming back.
    Fail(ErrorKind, Option<Duration>),
    /// Nothing, ever.
    Hang,
    /// Pictures as asked, after this long.
    After(Duration),
    /// This failure, after this long.
    FailAfter(ErrorKind, Duration),
    /// A fault in the provider's own code.
    Panic,
}

/// The provider. Clones share their script and their record.
#[derive(Clone)]
pub(crate) struct Scripted {
    capabilities: Arc<Mutex<Arc<Capabilities>>>,
    availability: Arc<Mutex<Availability>>,
    steps: Arc<Mutex<VecDeque<Step>>>,
    asked: Arc<Mutex<Vec<GenerationRequest>>>,
    busy: Arc<AtomicUsize>,
}

/// Keeps a turn counted until it is over or dropped.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Scripted {
    pub(crate) fn new(models: Vec<Model>, steps: impl IntoIterator<Item = Step>) -> Self {
        let installed = models.iter().find(|model| model.installed == Installed::Yes);
        let default_model = installed.map(|model| model.key.clone());
        Self {
            capabilities: Arc::new(Mutex::new(Arc::new(Capabilities {
                models,
                default_model,
                ..Capabilities::default()
            }))),
            availability: Arc::new(Mutex::new(Availability::Available)),
            steps: Arc::new(Mutex::new(steps.into_iter().collect())),
            asked: Arc::default(),
            busy: Arc::default(),
        }
    }

    pub(crate) fn unavailable(self, reason: &'static str) -> Self {
        *self.availability.lock().unwrap() =
            Availability::Unavailable { reason, detail: format!("it says {reason}"), remedy: format!("cure {reason}") };
        self
    }

    /// From now on it can or cannot be used.
    pub(crate) fn set_availability(&self, availability: Availability) {
        *self.availability.lock().unwrap() = availability;
    }

    /// How many turns it is in.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<GenerationRequest> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Provider for Scripted {
    fn capabilities(&self) -> Arc<Capabilities> {
        Arc::clone(&self.capabilities.lock().unwrap())
    }

    fn is_available(&self) -> Availability {
        self.availability.lock().unwrap().clone()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let _busy = Busy(Arc::clone(&self.busy));
        call.count_upstream_call();
        self.asked.lock().unwrap().push(request.clone());
        for (image, index) in pictures(request).images.into_iter().zip(0..) {
            (0..u32::from(request.partial_images))
                .for_each(|step| call.show_partial(PartialImage { index, step, image: image.clone() }));
        }
        let step = self.steps.lock().unwrap().pop_front().unwrap_or(Step::Pictures);
        match step {
            Step::Pictures => Ok(pictures(request)),
            Step::Answer(generation) => Ok(generation),
            Step::Fail(kind, retry_after) => {
                Err(Error::new(kind, format!("it fails with {}", kind.category())).with_retry_after(retry_after))
            }
            Step::Hang => std::future::pending().await,
            Step::After(delay) => {
                tokio::time::sleep(delay).await;
                Ok(pictures(request))
            }
            Step::FailAfter(kind, delay) => {
                tokio::time::sleep(delay).await;
                Err(Error::new(kind, format!("it fails with {}", kind.category())))
            }
            Step::Panic => panic!("the script says so"),
        }
    }
}

/// `provider` in the layers that every provider gets.
pub(crate) fn wrapped(provider: Arc<dyn Provider>, policy: &Policy) -> Arc<dyn Provider> {
    let prices = ModelPrices::default();
    layers::wrap(&ProviderId::new("p"), provider.into(), policy, prices, &Metrics::new().provider("p")).provider
}

/// A model that understands everything and has no limits.
pub(crate) fn model(key: &str) -> Model {
    Model {
        key: ModelKey::new(key),
        name: key.to_owned(),
        aliases: Vec::new(),
        installed: Installed::Yes,
        price_key: None,
        digest: None,
        supports: Supports::all(Support::Yes),
        limits: Limits::default(),
        defaults: Defaults::default(),
    }
}

/// A request that names nothing and wishes for nothing.
pub(crate) fn request() -> GenerationRequest {
    GenerationRequest::new("a teapot")
}

/// Whole pictures as `request` asks, 16x16 where it does not say.
pub(crate) fn pictures(request: &GenerationRequest) -> Generation {
    let size = match request.size {
        SizeWish::Exact(size) => size,
        SizeWish::ModelDefault | SizeWish::Aspect(_) => ImageSize::new(16, 16).unwrap(),
    };
    let images = (0..request.count.get()).map(|index| GeneratedImage {
        data: encoded(size, ImageFormat::Png).into(),
        format: ImageFormat::Png,
        size,
        seed: request.seed.map(|seed| seed.offset(index)),
    });
    Generation { images: images.collect(), ..Generation::default() }
}
