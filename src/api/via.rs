//! The way of a request through several Easels: one that comes back, or has come too far, is refused before it is read.

use actix_web::http::header::HeaderMap;

use super::error::{ApiError, Code};
use crate::generation::Via;

/// The way up to this Easel, whose id is `own`, and on from it.
pub(super) fn read(headers: &HeaderMap, own: &str) -> Result<Via, ApiError> {
    let Some(value) = headers.get(Via::HEADER) else { return Ok(Via::default().through(own)) };
    let via: Via = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let detail = format!("the header {} holds no list of ids", Via::HEADER);
        ApiError::new(Code::BadRequest, detail, "only Easels send this header; leave it out")
    })?;
    let hint = "let the Easels not name each other in a circle in their configurations";
    if via.contains(own) {
        let detail = "the request has come through this Easel before";
        return Err(ApiError::new(Code::LoopDetected, detail, hint));
    }
    if via.hops() > Via::MOST {
        let detail = format!("the request has come through {} Easels, and {} are enough", via.hops(), Via::MOST);
        return Err(ApiError::new(Code::LoopDetected, detail, hint));
    }
    Ok(via.through(own))
}
