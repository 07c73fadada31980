//! A JSON body: read within a time and a size, and refused by the name of what is wrong with it.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::State;
use super::body_memory::Share;
use super::error::{ApiError, Code};
use super::fields;

/// A body of type `T`.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        let request = request.clone();
        async move {
            check_type(&request)?;
            let state = request.app_data::<web::Data<State>>().ok_or_else(|| {
                ApiError::new(Code::Internal, "the process is not set up", "this is a fault of Easel's own")
            })?;
            let mut share = state.body_memory.share();
            let limits = (state.bounds.json_limit, state.bounds.body_timeout);
            let body = read(&request, payload, limits, &mut share).await?;
            parse(&body).map(Self)
        }
        .boxed_local()
    }
}

fn check_type(request: &HttpRequest) -> Result<(), ApiError> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = "the body must be declared as JSON";
    Err(ApiError::new(Code::UnsupportedMediaType, detail, "send \"Content-Type: application/json\""))
}

/// The whole body. actix has no time limit for it, so it is set here.
async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    (limit, time): (usize, Duration),
    share: &mut Share,
) -> Result<Bytes, ApiError> {
    let too_large = || {
        let hint = format!("send at most {limit} bytes; [server] json_limit sets the limit");
        ApiError::new(Code::BodyTooLarge, "the body is too large", hint)
    };
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let all = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                ApiError::new(Code::BadRequest, "the body broke off", "send the whole body").with_source(error)
            })?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            if !share.grow_to(body.len() + chunk.len()) {
                let detail = "too many large bodies are being read";
                return Err(ApiError::new(Code::Overloaded, detail, "send the request again a little later")
                    .with_retry_after(Some(Duration::from_secs(1))));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(time, all).await.unwrap_or_else(|_| {
        let detail = format!("the body was not whole after {} s", time.as_secs());
        Err(ApiError::new(Code::BodyTimeout, detail, "send the body faster, or a smaller one"))
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        // serde would take an array for the fields in order.
        check_json(body)?;
        let detail = "the body must be a JSON object";
        return Err(ApiError::new(Code::InvalidJson, detail, "send {\"prompt\": \"…\"} and what else is wished"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            // What cannot be stands before what is no JSON at all.
            Category::Data => check_json(body).err().unwrap_or_else(|| fields::refused(&field, &error.to_string())),
            Category::Syntax | Category::Eof | Category::Io => not_json(&error),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// Whether the whole body is JSON, however deep and whatever it says.
fn check_json(body: &[u8]) -> Result<(), ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| not_json(&error))
}

fn not_json(error: &dyn std::fmt::Display) -> ApiError {
    let detail = format!("the body is not JSON: {error}");
    ApiError::new(Code::InvalidJson, detail, "send UTF-8 JSON; the line and column say where it went wrong")
}
