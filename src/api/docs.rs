//! The description of the routes, for machines and for people. Its assets are compiled in; nothing is fetched.

use std::sync::OnceLock;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::openapi;

/// Where the document is.
pub(super) const DOCUMENT: &str = "/api-docs/openapi.json";
/// Below which the pages are.
pub(super) const PAGES: &str = "/swagger-ui/";

/// `/api-docs/openapi.json` and `/swagger-ui/`.
pub(super) fn pages(config: &mut web::ServiceConfig) {
    let swagger = Config::new([DOCUMENT]).query_config_enabled(false).validator_url("none").try_it_out_enabled(true);
    config
        .route(DOCUMENT, web::get().to(document))
        .route("/swagger-ui", web::get().to(to_pages))
        .service(SwaggerUi::new("/swagger-ui/{_:.*}").config(swagger));
}

async fn document() -> HttpResponse {
    static RENDERED: OnceLock<Bytes> = OnceLock::new();
    let document = RENDERED.get_or_init(|| openapi::rendered().into());
    HttpResponse::Ok().content_type("application/json").body(document.clone())
}

async fn to_pages() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, PAGES)).finish()
}
