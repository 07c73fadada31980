//! The answer of `POST /api/generate-image`.

use actix_web::body::BoxBody;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer_body::{AnswerBody, Segment};
use crate::api::request_id::RequestId;
use crate::api::state::Bounds;
use crate::api::summary::{self, Summary};
use crate::gateway::Outcome;
use crate::generation::{Attempt, FallbackPolicy, GeneratedImage, GenerationRequest, Target};

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
    /// `off`: this build keeps no pictures.
    cache: &'static str,
    /// What it cost in US dollars; `null` where it is not known.
    #[schema(required)]
    cost_usd: Option<f64>,
    /// Where the time went.
    timings_ms: Timings,
    /// What the caller should know, such as a prompt that was cut.
    warnings: Vec<String>,
    /// The id of the request, also in `x-request-id`.
    request_id: String,
}

/// One picture.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImageView {
    /// The file in base64.
    #[serde(skip_serializing_if = "is_streamed")]
    #[schema(required)]
    b64_json: String,
    /// Where the file can be fetched; always `null` in this build.
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
    /// Upstream calls made.
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
        let Outcome { generation, model, attempts, fallback_used, fallback_policy, total, overhead } = &self.outcome;
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
            cache: "off",
            cost_usd: generation.cost_usd,
            timings_ms: Timings { total: milliseconds(*total), overhead: milliseconds(*overhead) },
            warnings: generation.warnings.clone(),
            request_id: self.request_id.as_str().to_owned(),
        }
    }

    fn headers(&self) -> [(&'static str, String); 5] {
        let Outcome { model, attempts, total, overhead, .. } = &self.outcome;
        let timing = |part: &std::time::Duration| part.as_secs_f64() * 1000.0;
        [
            ("x-easel-provider", model.provider.to_string()),
            ("x-easel-model", model.key.to_string()),
            ("x-easel-attempts", summary::attempts(attempts)),
            ("x-easel-cache", "off".to_owned()),
            ("server-timing", format!("total;dur={:.1}, overhead;dur={:.1}", timing(total), timing(overhead))),
        ]
    }
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::Ok();
        response.content_type("application/json");
        response.insert_header(("cache-control", "no-store"));
        for (name, value) in self.headers() {
            // A model key may hold letters that a header cannot.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.insert_header((HeaderName::from_static(name), value));
            }
        }
        let view = self.view();
        let prompt = request.extensions().get::<Summary>().and_then(|summary| summary.prompt.clone());
        request.extensions_mut().insert(Summary {
            provider: Some(view.provider.clone()),
            model: Some(view.model.clone()),
            attempts: Some(summary::attempts(&self.outcome.attempts)),
            cost_usd: view.cost_usd,
            prompt,
        });
        response.body(AnswerBody::new(pictures(&self.outcome.generation.images, &view)))
    }
}

/// The answer in pieces, so that no picture is copied: `{"images":[{"b64_json":"` … `",` the rest of the picture's
/// object, and after the last one the rest of the answer's.
fn pictures(images: &[GeneratedImage], view: &GenerateImageAnswer) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut text = String::from("{\"images\":[");
    for (index, image) in images.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str("{\"b64_json\":\"");
        segments.push(Segment::Text(text.into()));
        segments.push(Segment::from(&image.data));
        let rest = ImageView {
            b64_json: String::new(),
            url: None,
            mime_type: image.format.mime_type(),
            width: image.size.width.get(),
            height: image.size.height.get(),
            seed: image.seed.map(crate::generation::Seed::get),
        };
        text = String::from("\",") + &members(&rest);
    }
    text.push_str("],");
    text.push_str(&members(view));
    segments.push(Segment::Text(text.into()));
    segments
}

/// These members are for the schema; what is sent of them is written by [`pictures`].
fn is_streamed<T>(_: &T) -> bool {
    true
}

/// An object's members and its closing brace.
fn members(object: &impl Serialize) -> String {
    let mut text = serde_json::to_string(object).unwrap_or_default();
    if !text.is_empty() {
        text.remove(0);
    }
    text
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
