//! Servers that imitate the `OpenAI` Images API and differ from it: one file each, with what it reads, answers and says
//! when it fails.

mod common;
mod easel;
mod localai;
mod sdcpp;
mod vllm;
mod xai;

use crate::Request;
use crate::http::Reply;
use crate::vendor::{Call, Failure, Vendor};

pub(crate) use xai::REFUSALS as XAI_REFUSALS;

/// What a request is for; `None` where the server has nothing.
pub(crate) fn call(vendor: Vendor, method: &str, path: &str) -> Option<Call> {
    match vendor {
        Vendor::LocalAi => localai::call(method, path),
        Vendor::SdCpp => sdcpp::call(method, path),
        Vendor::Vllm => vllm::call(method, path),
        Vendor::Xai => xai::call(method, path),
        Vendor::Easel => easel::call(method, path),
        Vendor::OpenAi | Vendor::Runware | Vendor::Gemini => None,
    }
}

/// A failure in the server's words.
pub(crate) fn failure(vendor: Vendor, failure: Failure, request: &Request) -> Reply {
    let (status, message) = match failure {
        Failure::Status(status) => (status, common::message(status)),
        Failure::InvalidKey => (401, "An authentication key is required".to_owned()),
        Failure::UnknownModel => (404, "The model is not known".to_owned()),
        Failure::UnknownPath => (404, format!("{} {} is not here", request.method, request.route())),
        Failure::RateLimit(None) => (429, common::message(429)),
        Failure::RateLimit(Some(delay)) => {
            (429, format!("Too many requests. Please try again in {}s", f64::from(delay) / 1000.0))
        }
        Failure::Quota(_) => (402, "Nothing is left on the account".to_owned()),
    };
    match vendor {
        Vendor::SdCpp => sdcpp::error(status, &message),
        Vendor::Vllm => vllm::error(status, &message),
        Vendor::Easel => easel::error(status, &message, failure),
        Vendor::LocalAi | Vendor::Xai | Vendor::OpenAi | Vendor::Runware | Vendor::Gemini => {
            localai::error(status, &message)
        }
    }
}
