//! `GET /api/image-models`

use actix_web::{get, web};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::State;
use super::availability::AvailabilityView;
use super::error::ApiError;
use super::openapi::ListErrors;
use super::query::QueryString;
use crate::gateway::Registered;
use crate::generation::{Capabilities, Installed, Model, Support};

/// What is listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    all: bool,
}

/// What can be had, and why not where not.
#[derive(Debug, Serialize, ToSchema)]
struct ImageModels {
    /// By provider id, in the order in which they are tried.
    #[schema(value_type = std::collections::BTreeMap<String, ProviderView>)]
    providers: InOrder,
    /// The provider that a request that names nothing would use now; `null` while nothing is available.
    #[schema(required)]
    current_provider: Option<String>,
    /// The key of the model that a request that names nothing would use now.
    #[schema(required)]
    current_model: Option<String>,
    /// Only when nothing is available: every provider with its remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

/// An object whose members keep their order.
#[derive(Debug)]
struct InOrder(Vec<ProviderView>);

impl Serialize for InOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|provider| (&provider.name, provider)))
    }
}

/// One configured provider.
#[derive(Debug, Serialize, ToSchema)]
struct ProviderView {
    /// The id again.
    name: String,
    /// Its name for people.
    display_name: String,
    /// What it is, for people.
    description: String,
    #[serde(flatten)]
    availability: AvailabilityView,
    /// The key of the model used when none is named; `null` when it has none.
    #[schema(required)]
    default_model: Option<String>,
    /// Lower is tried earlier.
    priority: i32,
    /// Other names that requests may use for it.
    aliases: Vec<String>,
    /// Its models; empty while it is not available, unless `all` is asked for.
    models: Vec<ModelView>,
}

/// One model and what a form needs to know about it.
#[derive(Debug, Serialize, ToSchema)]
struct ModelView {
    /// What requests name it.
    key: String,
    /// Its name for people.
    name: String,
    /// Whether it is its provider's default.
    is_default: bool,
    /// Other names that it answers to.
    aliases: Vec<String>,
    /// Whether it can be used without fetching anything.
    installed: bool,
    /// What brings it here, when it is not installed.
    #[schema(required)]
    setup: Option<String>,
    /// Which wishes it understands.
    capabilities: CapabilitiesView,
    /// How far it goes.
    limits: LimitsView,
    /// What it uses when nothing is said.
    defaults: DefaultsView,
}

/// Which wishes a model understands; `null`: nobody said, and the wish is sent.
#[derive(Debug, Serialize, ToSchema)]
struct CapabilitiesView {
    /// `width`, `height`, `size`.
    #[schema(required)]
    size: Option<bool>,
    /// `seed`.
    #[schema(required)]
    seed: Option<bool>,
    /// `negative_prompt`.
    #[schema(required)]
    negative_prompt: Option<bool>,
    /// `steps`.
    #[schema(required)]
    steps: Option<bool>,
    /// `guidance_scale`.
    #[schema(required)]
    guidance_scale: Option<bool>,
    /// `scheduler`.
    #[schema(required)]
    scheduler: Option<bool>,
    /// `image`.
    #[schema(required)]
    image: Option<bool>,
    /// `mask`.
    #[schema(required)]
    mask: Option<bool>,
    /// `strength`.
    #[schema(required)]
    strength: Option<bool>,
    /// `reference_images`.
    #[schema(required)]
    reference_images: Option<bool>,
    /// `loras`.
    #[schema(required)]
    loras: Option<bool>,
}

/// How far a model goes; `null`: no limit of its own.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsView {
    /// Pictures in one upstream call; more are split.
    #[schema(required)]
    max_count: Option<u32>,
    /// The only sizes it makes; empty: any within the other limits.
    sizes: Vec<String>,
    /// Shortest side in pixels.
    #[schema(required)]
    min_side: Option<u32>,
    /// Longest side in pixels.
    #[schema(required)]
    max_side: Option<u32>,
    /// Both sides are multiples of this.
    #[schema(required)]
    size_multiple: Option<u32>,
    /// Fewest pixels in all.
    #[schema(required)]
    min_pixels: Option<u64>,
    /// Most pixels in all.
    #[schema(required)]
    max_pixels: Option<u64>,
    /// How many times as long as the shorter side the longer one may be.
    #[schema(required)]
    max_ratio: Option<u32>,
    /// Most steps.
    #[schema(required)]
    max_steps: Option<u32>,
    /// Most reference images.
    #[schema(required)]
    max_reference_images: Option<u32>,
    /// Most adapters.
    #[schema(required)]
    max_loras: Option<u32>,
}

/// What a model uses when nothing is said; `null`: only the provider knows.
#[derive(Debug, Serialize, ToSchema)]
struct DefaultsView {
    /// Pixels across.
    #[schema(required)]
    width: Option<u32>,
    /// Pixels down.
    #[schema(required)]
    height: Option<u32>,
    /// Denoising steps.
    #[schema(required)]
    steps: Option<u32>,
    /// Classifier-free guidance.
    #[schema(required)]
    guidance_scale: Option<f64>,
    /// What pictures must not show.
    #[schema(required)]
    negative_prompt: Option<String>,
    /// The scheduler.
    #[schema(required)]
    scheduler: Option<String>,
}

/// What can be had.
///
/// Every configured provider is listed in the order in which providers are tried, with the reason and the remedy where
/// it is not available. The status is 200 also when nothing is available.
#[utoipa::path(
    tag = "models",
    params(("all" = Option<bool>, Query, description = "Also the models of providers that are not available now")),
    responses((status = 200, description = "Every configured provider", body = ImageModels), ListErrors)
)]
#[get("/api/image-models")]
pub(super) async fn list(
    state: web::Data<State>,
    QueryString(query): QueryString<ListQuery>,
) -> Result<web::Json<ImageModels>, ApiError> {
    let views: Vec<_> = state.gateway.providers().iter().map(|entry| ProviderView::of(entry, query.all)).collect();
    let current = state.gateway.current();
    let error = (!views.iter().any(|provider| provider.availability.available)).then(|| nothing_available(&views));
    Ok(web::Json(ImageModels {
        providers: InOrder(views),
        current_provider: current.as_ref().map(|model| model.provider.to_string()),
        current_model: current.map(|model| model.key.to_string()),
        error,
    }))
}

fn nothing_available(providers: &[ProviderView]) -> String {
    if providers.is_empty() {
        return "no provider is configured: see config/default.toml".to_owned();
    }
    let one = |provider: &ProviderView| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}: {} ({})", provider.name, part(&provider.availability.reason), part(&provider.availability.setup))
    };
    format!("nothing is available: {}", providers.iter().map(one).collect::<Vec<_>>().join("; "))
}

impl ProviderView {
    fn of(entry: &Registered, all: bool) -> Self {
        let capabilities = entry.provider.capabilities();
        let availability = AvailabilityView::from(entry.provider.is_available());
        let models = if availability.available || all { models(&capabilities) } else { Vec::new() };
        Self {
            name: entry.id.to_string(),
            display_name: entry.display_name.clone(),
            description: entry.description.clone(),
            availability,
            default_model: capabilities.default_model.as_ref().map(ToString::to_string),
            priority: entry.priority,
            aliases: entry.aliases.clone(),
            models,
        }
    }
}

fn models(capabilities: &Capabilities) -> Vec<ModelView> {
    let default = capabilities.default_model.as_ref();
    capabilities.models.iter().map(|model| ModelView::of(model, default == Some(&model.key))).collect()
}

impl ModelView {
    fn of(model: &Model, is_default: bool) -> Self {
        let (installed, setup) = match &model.installed {
            Installed::Yes => (true, None),
            Installed::No { detail, remedy } => (false, Some(format!("{detail}: {remedy}"))),
        };
        let supports = &model.supports;
        let (limits, defaults) = (&model.limits, &model.defaults);
        Self {
            key: model.key.to_string(),
            name: model.name.clone(),
            is_default,
            aliases: model.aliases.clone(),
            installed,
            setup,
            capabilities: CapabilitiesView {
                size: declared(supports.size),
                seed: declared(supports.seed),
                negative_prompt: declared(supports.negative_prompt),
                steps: declared(supports.steps),
                guidance_scale: declared(supports.guidance_scale),
                scheduler: declared(supports.scheduler),
                image: declared(supports.image),
                mask: declared(supports.mask),
                strength: declared(supports.strength),
                reference_images: declared(supports.reference_images),
                loras: declared(supports.loras),
            },
            limits: LimitsView {
                max_count: limits.max_count.map(u32::from),
                sizes: limits.sizes.iter().map(ToString::to_string).collect(),
                min_side: limits.min_side,
                max_side: limits.max_side,
                size_multiple: limits.size_multiple.map(u32::from),
                min_pixels: limits.min_pixels,
                max_pixels: limits.max_pixels,
                max_ratio: limits.max_ratio.map(u32::from),
                max_steps: limits.max_steps,
                max_reference_images: limits.max_reference_images,
                max_loras: limits.max_loras,
            },
            defaults: DefaultsView {
                width: defaults.size.map(|size| size.width.get()),
                height: defaults.size.map(|size| size.height.get()),
                steps: defaults.steps,
                guidance_scale: defaults.guidance_scale,
                negative_prompt: defaults.negative_prompt.clone(),
                scheduler: defaults.scheduler.clone(),
            },
        }
    }
}

fn declared(support: Support) -> Option<bool> {
    match support {
        Support::Yes => Some(true),
        Support::No => Some(false),
        Support::Undeclared => None,
    }
}
