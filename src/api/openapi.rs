//! The description of the HTTP surface, made from the handlers themselves.

use std::collections::BTreeMap;

use actix_web::App;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_actix_web::AppExt as _;

use super::error::Code;
use super::problem::Problem;
use super::stream::PartialImageEvent;

/// Everything about the document that no handler says.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Easel",
        description = "One door to every picture model its owner can use. Errors are RFC 9457 problem details; \
                       `code` is stable, `hint` says what to do.",
    ),
    tags(
        (name = "pictures", description = "Make pictures"),
        (name = "models", description = "What can be had"),
        (name = "health", description = "Whether it runs"),
    ),
    components(schemas(Problem, PartialImageEvent)),
    modifiers(&AdminScheme)
)]
struct Frame;

struct AdminScheme;

impl Modify for AdminScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("admin", scheme);
    }
}

/// The whole document.
pub fn document() -> utoipa::openapi::OpenApi {
    App::new().into_utoipa_app().openapi(Frame::openapi()).configure(super::routes).split_for_parts().1
}

/// The document as it is committed and served: pretty JSON with a line end.
pub fn rendered() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// What a layer around the routes may answer instead of them.
const AROUND: &[Code] =
    &[Code::BadRequest, Code::HostNotAllowed, Code::OriginNotAllowed, Code::Draining, Code::Internal];

macro_rules! errors {
    ($(#[doc = $doc:literal] $name:ident: $($code:ident)*;)*) => {
        $(
            #[doc = $doc]
            pub(super) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses(&[$(Code::$code,)*])
                }
            }
        )*
    };
}

errors! {
    /// The errors of a route that reads nothing.
    PlainErrors: RateLimited;
    /// The errors of a route that is always open.
    OpenErrors:;
    /// The errors of a list.
    ListErrors: RateLimited UnknownField InvalidField ConflictingFields;
    /// The errors of `/metrics`.
    MetricsErrors: Unauthorized AdminOnly;
    /// The errors of `/readyz`.
    ReadyErrors: NothingAvailable;
    /// The errors of fetching a picture.
    PictureErrors: UnknownPicture RangeNotSatisfiable;
    /// The errors of the current model.
    CurrentErrors: InvalidJson Unauthorized AdminOnly UnknownModel BodyTimeout BodyTooLarge UnsupportedMediaType
        UnknownField MissingField InvalidField ConflictingFields NotInstalled RateLimited Overloaded;
    /// The errors of making pictures.
    GenerateErrors: InvalidJson UnknownProvider UnknownModel BodyTimeout BodyTooLarge UnsupportedMediaType UnknownField
        MissingField InvalidField ConflictingFields Unsupported KeyReused InvalidRequest ContentRejected NotInstalled RateLimited
        ProviderUnauthorized ProviderModelNotFound ProviderNoImage ProviderProtocol NothingAvailable ProviderQuota
        ProviderRateLimited ProviderOverloaded ProviderUnavailable Overloaded ProviderTimeout DeadlineExceeded
        OutOfMemory LoopDetected;
}

/// One response for each status, naming the codes that it may carry.
fn responses(own: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in own.iter().chain(AROUND) {
        by_status.entry(code.status().as_u16()).or_default().push(code.as_str());
    }
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    by_status
        .into_iter()
        .map(|(status, codes)| {
            let description = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
            let response =
                ResponseBuilder::new().description(description).content("application/problem+json", content()).build();
            (status.to_string(), RefOr::T(response))
        })
        .collect()
}
