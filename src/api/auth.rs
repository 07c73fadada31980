//! Who may use an administrator's route.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use subtle::ConstantTimeEq;

use super::State;
use super::error::{ApiError, Code};
use crate::secret::Secret;

/// How an administrator is told from others.
#[derive(Debug, Clone)]
pub enum Admin {
    /// By this token.
    Token(Secret),
    /// By being on this machine: the process listens on a loopback address only.
    Loopback,
    /// Not at all; the hint says what to do about it.
    Nobody(String),
}

/// Proof that the caller is an administrator.
pub(super) struct Administrator;

impl FromRequest for Administrator {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let nobody = Admin::Nobody(String::new());
        let admin = request.app_data::<web::Data<State>>().map_or(&nobody, |state| &state.admin);
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        ready(admin.admit(given).map(|()| Self))
    }
}

impl Admin {
    fn admit(&self, authorization: Option<&str>) -> Result<(), ApiError> {
        match self {
            Self::Loopback => Ok(()),
            Self::Nobody(hint) => {
                Err(ApiError::new(Code::AdminOnly, "this route is for an administrator, and there is none", hint))
            }
            Self::Token(token) => {
                let given = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
                if bool::from(given.as_bytes().ct_eq(token.expose().as_bytes())) {
                    return Ok(());
                }
                let hint = "send the token of [server] admin_token as \"Authorization: Bearer …\"";
                Err(ApiError::new(Code::Unauthorized, "the administrator's token is missing or wrong", hint)
                    .with_header("www-authenticate", "Bearer"))
            }
        }
    }
}
