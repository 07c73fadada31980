//! The answer of `POST /api/generate-image`.

use actix_web::body::BoxBody;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer_body::{Segment, is_streamed, members};
use crate::api::recorded::{Head, Record, Recorded};
use crate::api::request_id::RequestId;
use crate::api::state::Bounds;
use crate::api::summary::{self, Summary};
use crate::gateway::Outcome;
use crate::generation::{Attempt, FallbackPolicy, GeneratedImage, GenerationRequest, LoraReport, Target};

/// The pictures, who made them and how.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GenerateImageAnswer {
    /// The pictures in order.
    #[serde(skip_serializing_if = "is_streamed")]
    #[schema(required)]
    images: Vec<ImageView>,
    /// Who made them.
    provider: String,
    /// With which model: its key.
    model: String,
    /// What the request named.
    requested: Requested,
    /// Whether another provider had to step in.
    fallback: FallbackView,
    /// Soft wishes that were not passed on, by their request field.
    ignored: Vec<&'static str>,
    /// What became of each candidate, in order.
    attempts: Vec<AttemptView>,
    /// `miss`: they were made for this request and are kept; `hit`: they were kept from the same request before;
    /// `coalesced`: they were made for the same request, which was under way; `bypass`: they are this request's alone.
    cache: &'static str,
    /// What it cost in US dollars; `null` where it is not known, and 0 where nothing was sent for this request (`cache`
    /// is `hit` or `coalesced`).
    #[schema(required)]
    cost_usd: Option<f64>,
    /// Where the time went.
    timings_ms: Timings,
    /// What the caller should know, such as a prompt that was cut.
    warnings: Vec<String>,
    /// How each adapter met the model, in the request's order; empty where the provider does not say.
    loras: Vec<LoraView>,
    /// The id of the request, also in `x-request-id`.
    request_id: String,
}

/// One picture.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImageView {
    /// The file in base64; `null` where `url` is not.
    #[serde(skip_serializing_if = "is_streamed")]
    #[schema(required)]
    b64_json: Option<String>,
    /// Where the file can be fetched for a while by whoever has the address; with `response_format` `url`, unless it
    /// could not be stored, which `warnings` says.
    #[schema(required)]
    url: Option<String>,
    /// Its media type.
    mime_type: &'static str,
    /// Pixels across.
    width: u32,
    /// Pixels down.
    height: u32,
    /// The seed it came from; `null` where the provider has none.
    #[schema(required)]
    seed: Option<u64>,
}

/// What the request named.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Requested {
    /// The provider as it was written.
    #[schema(required)]
    provider: Option<String>,
    /// The model as it was written.
    #[schema(required)]
    model: Option<String>,
}

/// Whether another provider had to step in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FallbackView {
    /// It had to.
    used: bool,
    /// `auto` or `never`.
    policy: &'static str,
}

/// How an adapter met the model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoraView {
    /// Its name, as it was asked for.
    name: String,
    /// How strongly it acted.
    weight: f64,
    /// Layers of it that the model has; the others were left out.
    matched: u32,
    /// Layers of it.
    total: u32,
    /// The first of those that were left out, at most 20, as the adapter calls them.
    unmatched: Vec<String>,
}

impl From<&LoraReport> for LoraView {
    fn from(LoraReport { lora, matched, total, unmatched }: &LoraReport) -> Self {
        let (name, unmatched) = (lora.name.clone(), unmatched.clone());
        Self { name, weight: lora.weight, matched: *matched, total: *total, unmatched }
    }
}

/// Where the time went, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Timings {
    /// In all.
    total: u64,
    /// Not spent waiting for providers.
    overhead: u64,
}

/// What became of one candidate.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AttemptView {
    /// Whose turn it was.
    provider: String,
    /// Which of its models.
    model: String,
    /// `ok`, `failed`, `unavailable` or `skipped`.
    outcome: &'static str,
    /// A category; `null` when it succeeded.
    #[schema(required)]
    reason: Option<String>,
    /// Upstream calls made for this request; 0 where another one's pictures were taken.
    calls: u32,
    /// Wall time.
    duration_ms: u64,
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self {
            provider: attempt.model.provider.to_string(),
            model: attempt.model.key.to_string(),
            outcome: summary::outcome(attempt.outcome),
            reason: attempt.reason.clone(),
            calls: attempt.calls,
            duration_ms: milliseconds(attempt.duration),
        }
    }
}

/// The answer before it is rendered.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// The addresses of the pictures that have one, in their order.
    pub(super) urls: Vec<Option<String>>,
    pub(super) target: Target,
    pub(super) request_id: RequestId,
}

impl Answer {
    /// Leaves the prompt for the log line, where the settings ask for it.
    pub(super) fn announce(request: &HttpRequest, wished: &GenerationRequest, bounds: &Bounds) {
        if bounds.log_prompts {
            let prompt = Some(wished.prompt.clone());
            request.extensions_mut().insert(Summary { prompt, ..Summary::default() });
        }
    }

    fn view(&self) -> GenerateImageAnswer {
        let Outcome { generation, model, cache, attempts, fallback_used, fallback_policy, total, overhead } =
            &self.outcome;
        let policy = match fallback_policy {
            FallbackPolicy::Auto => "auto",
            FallbackPolicy::Never => "never",
        };
        GenerateImageAnswer {
            images: Vec::new(),
            provider: model.provider.to_string(),
            model: model.key.to_string(),
            requested: Requested { provider: self.target.provider.clone(), model: self.target.model.clone() },
            fallback: FallbackView { used: *fallback_used, policy },
            ignored: generation.ignored.iter().map(|wish| wish.field()).collect(),
            attempts: attempts.iter().map(AttemptView::from).collect(),
            cache: cache.word(),
            cost_usd: generation.cost_usd,
            timings_ms: Timings { total: milliseconds(*total), overhead: milliseconds(*overhead) },
            warnings: generation.warnings.clone(),
            loras: generation.loras.iter().map(LoraView::from).collect(),
            request_id: self.request_id.as_str().to_owned(),
        }
    }

    fn headers(&self) -> [(&'static str, String); 7] {
        let Outcome { model, cache, attempts, total, overhead, .. } = &self.outcome;
        let timing = |part: &std::time::Duration| part.as_secs_f64() * 1000.0;
        [
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-easel-provider", model.provider.to_string()),
            ("x-easel-model", model.key.to_string()),
            ("x-easel-attempts", summary::attempts(attempts)),
            ("x-easel-cache", cache.word().to_owned()),
            ("server-timing", format!("total;dur={:.1}, overhead;dur={:.1}", timing(total), timing(overhead))),
        ]
    }
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse<BoxBody> {
        let prompt = request.extensions().get::<Summary>().and_then(|summary| summary.prompt.clone());
        request.extensions_mut().insert(Summary { prompt, ..self.summary() });
        self.recorded().into_response()
    }
}

impl Record for Answer {
    fn recorded(&self) -> Recorded {
        let headers = self.headers().map(|(name, value)| (name.to_owned(), value));
        let head = Head { request_id: self.request_id.as_str().to_owned(), status: 200, headers: headers.into() };
        Recorded { head, body: pictures(&self.outcome.generation.images, &self.urls, &self.view()) }
    }

    fn summary(&self) -> Summary {
        let Outcome { generation, model, attempts, .. } = &self.outcome;
        Summary {
            provider: Some(model.provider.to_string()),
            model: Some(model.key.to_string()),
            attempts: Some(summary::attempts(attempts)),
            cost_usd: generation.cost_usd,
            ..Summary::default()
        }
    }
}

/// The answer in pieces, so that no picture is copied: `{"images":[{"b64_json":"` … `",` the rest of the picture's
/// object, and after the last one the rest of the answer's.
fn pictures(images: &[GeneratedImage], urls: &[Option<String>], view: &GenerateImageAnswer) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut text = String::from("{\"images\":[");
    for (index, image) in images.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let url = urls.get(index).cloned().flatten();
        if url.is_some() {
            text.push_str("{\"b64_json\":null,");
        } else {
            text.push_str("{\"b64_json\":\"");
            segments.push(Segment::Text(text.into()));
            segments.push(Segment::from(&image.data));
            text = String::from("\",");
        }
        let rest = ImageView {
            b64_json: None,
            url,
            mime_type: image.format.mime_type(),
            width: image.size.width.get(),
            height: image.size.height.get(),
            seed: image.seed.map(crate::generation::Seed::get),
        };
        text.push_str(&members(&rest));
    }
    text.push_str("],");
    text.push_str(&members(view));
    segments.push(Segment::Text(text.into()));
    segments
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
