//! Another Easel, spoken to by its own API (`POST {base_url}/api/generate-image`), so that nothing is lost on the way:
//! every wish goes there, and seeds, costs, warnings, hints and kinds of failure come back.

mod answer;
mod error;
mod request;

use reqwest::header::{HeaderName, HeaderValue};

use super::Upstream;
use super::client::{self, Client};
use super::request::Body;
use crate::generation::{Generation, GenerationRequest, Via};
use crate::providers::{Call, Error, ErrorKind};

pub(super) use request::{EaselModel, Fallback};

const PATH: &str = "api/generate-image";

/// Asks the other Easel.
pub(super) async fn generate(
    upstream: &Upstream,
    model: &EaselModel,
    request: &GenerationRequest,
    call: &Call,
) -> Result<Generation, Error> {
    if request.via.hops() > Via::MOST {
        let message =
            format!("the request has come through {} Easels, and {} are enough", request.via.hops(), Via::MOST);
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("let fewer Easels name each other as providers in their configurations"));
    }
    let client: &Client = &upstream.client;
    let body = model.body(request, call.remaining()).await?;
    let mut headers = client::usual_headers(false, "x-request-id", &call.request_id);
    if request.via.hops() > 0
        && let Ok(via) = HeaderValue::from_str(&request.via.to_string())
    {
        headers.push((HeaderName::from_static(Via::HEADER), via));
    }
    match client.post(PATH, Body::Json(body), &headers, call).await? {
        Ok(response) => answer::read(client::whole(client::refuse_page(response)?).await?, upstream).await,
        Err(refused) => Err(error::of_answer(&refused, client.key())),
    }
}
