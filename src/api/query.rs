//! A query string as typed fields, refused by the name of what is wrong with it.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use super::error::{ApiError, Code};
use super::fields;

/// The query of type `T`.
pub(super) struct QueryString<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for QueryString<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(web::Query::<T>::from_query(request.query_string()).map(|query| Self(query.into_inner())).map_err(
            |error| {
                let message = error.to_string();
                let message = message.rsplit_once("error: ").map_or(message.as_str(), |(_, message)| message);
                if message.contains('`') && message.contains(" field ") {
                    return fields::refused("the query", message);
                }
                let hint = "the parameters of the route are under /swagger-ui/";
                ApiError::new(Code::InvalidField, "the query cannot be read", hint)
            },
        ))
    }
}
