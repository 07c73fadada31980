//! How the answer is wished for, which no provider need know.

use actix_web::HttpRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::State;
use crate::api::error::{ApiError, Code};
use crate::api::fields::{Whole, invalid};
use crate::api::idempotency::IdempotencyKey;

/// Most previews of one picture.
const MAX_PARTIAL_IMAGES: u8 = 3;

/// `response_format`
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum ResponseFormatField {
    B64Json,
    Url,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Addresses in place of pictures.
    pub(super) urls: bool,
    /// Events while it is made.
    pub(super) events: bool,
}

impl Form {
    /// What the request says about it.
    pub(super) fn of(format: Option<ResponseFormatField>, stream: Option<bool>) -> Self {
        let urls = match format {
            Some(ResponseFormatField::Url) => true,
            Some(ResponseFormatField::B64Json) | None => false,
        };
        Self { urls, events: stream.unwrap_or(false) }
    }

    /// How many previews of each picture: only of events are there any.
    pub(super) fn previews(self, wished: Option<Whole>) -> Result<u8, ApiError> {
        let number = wished.map_or(0, |Whole(number)| number);
        let number = u8::try_from(number).ok().filter(|number| *number <= MAX_PARTIAL_IMAGES);
        let number = number.ok_or_else(|| invalid("partial_images", &format!("from 0 to {MAX_PARTIAL_IMAGES}")))?;
        if number > 0 && !self.events {
            let detail = "`partial_images` is about `stream`, which is not asked for";
            return Err(ApiError::new(Code::MissingField, detail, "send `\"stream\": true`, too").with_field("stream"));
        }
        Ok(number)
    }

    /// As text, by which one request is told from another.
    pub(super) fn written(self) -> Option<&'static str> {
        self.urls.then_some("response_format url")
    }

    /// Whether the answer can take this form here.
    pub(super) fn check(self, state: &State, key: IdempotencyKey) -> Result<(), ApiError> {
        if self.urls && !state.pictures.are_kept() {
            let hint = "ask for \"b64_json\", or let [storage] pictures_max be more than nothing";
            let error = ApiError::new(Code::Unsupported, "no pictures are kept here, so they have no address", hint);
            return Err(error.with_field("response_format"));
        }
        if self.events && key.is_given() {
            let detail = "`stream` and `Idempotency-Key` exclude each other: events cannot be given again";
            return Err(ApiError::new(Code::ConflictingFields, detail, "send one of them").with_field("stream"));
        }
        Ok(())
    }

    /// What the addresses of the pictures begin with, where addresses are asked for.
    pub(super) fn base(self, state: &State, request: &HttpRequest) -> Option<String> {
        self.urls.then(|| state.pictures.base(request))
    }
}
