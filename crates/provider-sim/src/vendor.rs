//! The vendors that the stand-in plays, and what it takes to tell them apart. Their words live in their folders.

use serde::Serialize;

use crate::http::Reply;
use crate::state::State;
use crate::{Behaviour, Fault, Request, dialects, gemini, openai, runware};

/// A service, or a server that is known to differ from the one it imitates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// The `OpenAI` Images API.
    OpenAi,
    /// Runware over REST and WebSocket.
    Runware,
    /// Gemini's `generateContent`.
    Gemini,
    /// `LocalAI`: addresses by default, a mask that is white where it repaints, no edits.
    LocalAi,
    /// The server of stable-diffusion.cpp: errors as text, everything but the size inside the prompt.
    SdCpp,
    /// vLLM-Omni: further parameters, errors of `FastAPI`.
    Vllm,
    /// xAI: JSON edits, refusals on 200.
    Xai,
    /// Another Easel.
    Easel,
}

/// What a vendor says instead of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    Status(u16),
    InvalidKey,
    UnknownModel,
    UnknownPath,
    /// With the milliseconds that the body tells, where it tells them.
    RateLimit(Option<u32>),
    Quota(u8),
}

/// How a vendor answers one kind of request.
pub(crate) type Answer = fn(&Request, &Behaviour, Option<Fault>, &State) -> Reply;

/// What a request is for.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// Pictures, which cost.
    Pictures(Answer),
    /// Something that costs nothing.
    Lookup(Answer),
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::OpenAi, Self::Runware, Self::Gemini, Self::LocalAi, Self::SdCpp, Self::Vllm, Self::Xai, Self::Easel];

    /// What the paths of its base URL begin with.
    pub const fn base_path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1",
            Self::Runware => "/runware/v1",
            Self::Gemini => "/gemini/v1beta",
            Self::LocalAi => "/localai/v1",
            Self::SdCpp => "/sdcpp/v1",
            Self::Vllm => "/vllm/v1",
            Self::Xai => "/xai/v1",
            Self::Easel => "/easel",
        }
    }

    /// How many forms of `refused` it has; higher ones begin anew.
    pub const fn refusals(self) -> u8 {
        match self {
            Self::OpenAi => openai::REFUSALS,
            Self::Runware => runware::REFUSALS,
            Self::Gemini => gemini::REFUSALS,
            Self::LocalAi | Self::SdCpp | Self::Vllm | Self::Easel => 1,
            Self::Xai => dialects::XAI_REFUSALS,
        }
    }

    /// How many forms of `no-picture` it has; higher ones begin anew.
    pub const fn no_pictures(self) -> u8 {
        match self {
            Self::Gemini => gemini::NO_PICTURES,
            Self::OpenAi | Self::Runware | Self::LocalAi | Self::SdCpp | Self::Vllm | Self::Xai | Self::Easel => 3,
        }
    }

    /// How many forms of `quota` it has; higher ones begin anew.
    pub const fn quotas(self) -> u8 {
        match self {
            Self::OpenAi => openai::QUOTAS,
            Self::Gemini => gemini::QUOTAS,
            Self::Runware => runware::QUOTAS,
            Self::LocalAi | Self::SdCpp | Self::Vllm | Self::Xai | Self::Easel => 1,
        }
    }

    /// Whose request this is, and what for.
    pub(crate) fn find(request: &Request) -> (Self, Option<Call>) {
        let path = request.route();
        let method = request.method.as_str();
        for vendor in Self::ALL {
            let own = vendor.base_path().strip_suffix("/v1").or(vendor.base_path().strip_suffix("/v1beta"));
            let prefix = own.unwrap_or(vendor.base_path());
            let rest = path.strip_prefix(prefix).filter(|rest| !prefix.is_empty() && rest.starts_with('/'));
            if let Some(rest) = rest {
                return (vendor, vendor.call(method, rest, request));
            }
        }
        // The vendors' own paths, for clients that append them to a host.
        let own = [Self::OpenAi, Self::Runware, Self::Gemini];
        let found = own.into_iter().find_map(|vendor| Some((vendor, Some(vendor.call(method, path, request)?))));
        found.unwrap_or_else(|| if path.starts_with("/v1beta/") { (Self::Gemini, None) } else { (Self::OpenAi, None) })
    }

    fn call(self, method: &str, path: &str, request: &Request) -> Option<Call> {
        match self {
            Self::OpenAi => openai::call(method, path),
            Self::Runware => runware::call(method, path, request),
            Self::Gemini => gemini::call(method, path),
            Self::LocalAi | Self::SdCpp | Self::Vllm | Self::Xai | Self::Easel => dialects::call(self, method, path),
        }
    }

    /// Whether the request carries this key, in one of the vendor's ways.
    pub(crate) fn has_key(self, request: &Request, key: &str) -> bool {
        match self {
            Self::Gemini => gemini::keys(request).contains(&Some(key)),
            Self::Runware => request.bearer() == Some(key) || runware::key_in_body(request).as_deref() == Some(key),
            Self::OpenAi | Self::LocalAi | Self::SdCpp | Self::Vllm | Self::Xai | Self::Easel => {
                request.bearer() == Some(key)
            }
        }
    }

    /// The failure in the vendor's words.
    pub(crate) fn failure(self, failure: Failure, request: &Request, shape: u8) -> Reply {
        match self {
            Self::OpenAi | Self::Xai => openai::failure(failure, request, shape),
            Self::Runware => runware::failure(failure, request, shape),
            Self::Gemini => gemini::failure(failure, request, shape),
            Self::LocalAi | Self::SdCpp | Self::Vllm | Self::Easel => dialects::failure(self, failure, request),
        }
    }
}
