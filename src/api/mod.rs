//! HTTP in and out: one file per resource, and the layers around them.
//!
//! A handler extracts, calls one method and wraps. Only [`ApiError`] knows statuses; nothing here knows a provider.

mod answer_body;
mod auth;
mod availability;
mod body_memory;
mod current_model;
mod docs;
mod edge;
mod error;
mod fields;
mod from_gateway;
mod generate_image;
mod health;
mod hosts;
mod idempotency;
mod image_models;
mod in_flight;
mod json;
mod metrics;
pub mod openapi;
mod pictures;
mod problem;
mod provider_health;
mod query;
mod rate_limit;
mod recorded;
mod request_id;
mod state;
mod stream;
mod summary;
mod unrouted;
mod via;

pub use auth::Admin;
pub use body_memory::BodyMemory;
pub use edge::edge;
pub use error::{ApiError, CODES, Code};
pub use hosts::{Hosts, check_host};
pub use idempotency::Answers;
pub use in_flight::{CutOff, InFlight};
pub use pictures::Pictures;
pub use problem::Problem;
pub use rate_limit::{RateLimit, limit_caller};
pub use state::{Bounds, State};

use utoipa_actix_web::service_config::ServiceConfig;

/// Every documented route.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(image_models::list)
        .service(generate_image::generate)
        .service(pictures::read)
        .service(provider_health::list)
        .service(current_model::set)
        .service(health::alive)
        .service(health::ready)
        .service(metrics::read)
        .service(health::root);
}

/// What answers where no route does, and the pages for people.
pub fn pages(config: &mut actix_web::web::ServiceConfig) {
    config.configure(docs::pages).default_service(actix_web::web::to(unrouted::answer));
}
