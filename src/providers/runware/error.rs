//! What the vendor's error codes mean. The catalogue has hundreds and is not stable, so they are told by their shape,
//! the first rule that fits deciding, and the HTTP status speaks where none does. Its sentences never leave this file.
//! <https://runware.ai/docs/platform/errors>

use std::time::Duration;

use reqwest::StatusCode;

use crate::providers::upstream::{self, Noted};
use crate::providers::{Error, ErrorKind};

/// One error of an answer, of which only plain words were kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failure {
    /// Its code.
    pub code: Option<String>,
    /// The field that is to blame; the first of several.
    pub parameter: Option<String>,
    /// Whether it is about a look-up rather than about the task that was looked for.
    pub of_look_up: bool,
}

/// What a code says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Quota,
    RateLimit,
    Safety,
    Auth,
    Timeout,
    NotFound,
    Busy,
    Server,
    Validation,
}

const SAFETY: [&str; 9] = [
    "contentpolicyviolation",
    "providercontentpolicyviolation",
    "sensitivecontentdetected",
    "unsafecontentdetected",
    "nsfwcontentdetected",
    "promptblocked",
    "imageblocked",
    "moderationfailed",
    // The vendor behind the vendor refused; it does so again each time.
    "invalidprovidercontent",
];

const AUTH: [&str; 20] = [
    "unauthorized",
    "forbidden",
    "permissiondenied",
    "insufficientpermissions",
    "authenticationfailed",
    "authfailed",
    "authtimeout",
    "invalidauthentication",
    "invalidcredentials",
    "missingauthentication",
    "tokenexpired",
    "tokeninvalid",
    "tokenmissing",
    "tokenrevoked",
    "accountsuspended",
    "accountdisabled",
    "organizationsuspended",
    "organizationdisabled",
    "workspacesuspended",
    "workspacedisabled",
];

const BUSY: [&str; 4] = ["serviceunavailable", "serverunavailable", "noavailableserver", "modelnotready"];

const SERVER: [&str; 13] = [
    "internalservererror",
    "standarderror",
    "unknownerror",
    "undefinederror",
    "defaulterror",
    "unrecognizedresponse",
    "inferenceerror",
    "processingfailed",
    "taskfailed",
    "downloadfailed",
    "uploadfailed",
    "modelunavailable",
    "modeldisabled",
];

impl Failure {
    fn group(&self) -> Option<Group> {
        let code = self.code.as_deref()?.to_ascii_lowercase();
        let is = |word: &str| code == word;
        let has = |part: &str| code.contains(part);
        let begins = |start: &str| code.starts_with(start);
        if ["credits", "quota", "balance"].into_iter().any(has) || is("paymentrequired") || is("environmentpaused") {
            Some(Group::Quota)
        } else if has("ratelimit") || is("toomanyrequests") {
            Some(Group::RateLimit)
        } else if SAFETY.into_iter().any(is) {
            Some(Group::Safety)
        } else if has("apikey") || AUTH.into_iter().any(is) {
            Some(Group::Auth)
        } else if has("timeout") {
            Some(Group::Timeout)
        } else if code.ends_with("notfound") || code.ends_with("expired") || is("taskcancelled") || is("unknownmodel") {
            Some(Group::NotFound)
        } else if BUSY.into_iter().any(is) {
            Some(Group::Busy)
        } else if SERVER.into_iter().any(is) || begins("provider") {
            Some(Group::Server)
        } else if ["invalid", "missing", "conflict", "duplicate", "unsupported", "value", "array", "max"]
            .into_iter()
            .any(begins)
            || ["unknownparameter", "incompatibleparameters", "validationfailed"].into_iter().any(is)
        {
            Some(Group::Validation)
        } else {
            None
        }
    }

    /// What sort of failure it is, in an answer with this status.
    pub(super) fn kind(&self, status: StatusCode) -> ErrorKind {
        match self.group() {
            Some(Group::Quota) => ErrorKind::QuotaExhausted,
            Some(Group::RateLimit) => ErrorKind::RateLimited,
            Some(Group::Safety) => ErrorKind::ContentRejected,
            Some(Group::Auth) => ErrorKind::Unauthorized,
            Some(Group::Timeout) => ErrorKind::Timeout,
            Some(Group::NotFound) => self.kind_of_missing(),
            Some(Group::Busy) => ErrorKind::Overloaded,
            Some(Group::Server) => ErrorKind::Unavailable,
            Some(Group::Validation) => self.kind_of_invalid(),
            None => of_status(status),
        }
    }

    fn code_begins(&self, start: &str) -> bool {
        self.code.as_deref().is_some_and(|code| code.to_ascii_lowercase().starts_with(start))
    }

    fn kind_of_missing(&self) -> ErrorKind {
        if self.code_begins("task") {
            ErrorKind::Unavailable
        } else if self.code_begins("model") || self.code_begins("unknownmodel") || self.parameter_is("model") {
            ErrorKind::ModelNotFound
        } else {
            // An adapter, say, that another provider may have.
            ErrorKind::Unsupported
        }
    }

    fn kind_of_invalid(&self) -> ErrorKind {
        /// What one provider makes is not what all make: another may take the size, the count or the parameter.
        const OWN_LIMITS: [&str; 4] = ["width", "height", "resolution", "numberResults"];
        let own = OWN_LIMITS.into_iter().any(|name| self.parameter_is(name));
        let unknown =
            ["unsupported", "unknownparameter", "incompatible"].into_iter().any(|start| self.code_begins(start));
        if self.is_conflict() {
            // Another identity will do.
            ErrorKind::Unavailable
        } else if self.parameter_is("model") || self.code_begins("invalidmodel") {
            ErrorKind::ModelNotFound
        } else if own || unknown {
            ErrorKind::Unsupported
        } else {
            ErrorKind::InvalidRequest
        }
    }

    fn parameter_is(&self, name: &str) -> bool {
        self.parameter.as_deref() == Some(name)
    }

    /// Whether the vendor says that it has seen the task's identity before.
    pub(super) fn is_conflict(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default().to_ascii_lowercase();
        (self.code_begins("conflict") || self.code_begins("duplicate"))
            && (self.parameter_is("taskUUID") || code.ends_with("taskuuid"))
    }

    /// Whether, in the answer to a look-up, it only says that there is no such task.
    pub(super) fn says_unknown(&self) -> bool {
        match self.group() {
            Some(Group::NotFound) => self.of_look_up || self.code_begins("task"),
            Some(Group::Validation) => self.of_look_up,
            Some(
                Group::Quota
                | Group::RateLimit
                | Group::Safety
                | Group::Auth
                | Group::Timeout
                | Group::Busy
                | Group::Server,
            )
            | None => false,
        }
    }

    /// The request's field that is to blame.
    fn field(&self) -> Option<&'static str> {
        Some(match self.parameter.as_deref()? {
            "positivePrompt" => "prompt",
            "negativePrompt" => "negative_prompt",
            "width" | "height" | "resolution" => "size",
            "numberResults" => "n",
            "seed" => "seed",
            "steps" => "steps",
            "CFGScale" => "guidance_scale",
            "scheduler" => "scheduler",
            "strength" => "strength",
            "seedImage" => "image",
            "maskImage" => "mask",
            "referenceImages" => "reference_images",
            "lora" => "loras",
            "outputFormat" => "output_format",
            _ => return None,
        })
    }
}

/// What a status says by itself.
fn of_status(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 | 403 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExhausted,
        404 => ErrorKind::ModelNotFound,
        408 | 504 => ErrorKind::Timeout,
        409 | 425 => ErrorKind::Unavailable,
        // Too much in one request, or a method that is not taken here: another provider may take it.
        405 | 413 | 415 => ErrorKind::Unsupported,
        429 => ErrorKind::RateLimited,
        503 | 529 => ErrorKind::Overloaded,
        400..=499 => ErrorKind::InvalidRequest,
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

/// The error of an answer with these failures; `cost` is what was charged all the same.
pub(super) fn of_answer(
    status: StatusCode,
    failures: &[Failure],
    retry_after: Option<Duration>,
    cost: Option<f64>,
) -> Error {
    // A refusal outweighs whatever else went wrong: it is final.
    let refused = failures.iter().find(|failure| failure.kind(status) == ErrorKind::ContentRejected);
    let failure = refused.or(failures.first());
    let kind = failure.map_or_else(|| of_status(status), |failure| failure.kind(status));
    let code = failure.and_then(|failure| failure.code.as_deref()).unwrap_or("none");
    let charged = cost.map(|cost| format!(", charged {cost} USD")).unwrap_or_default();
    let note = format!("status {}, code {code}{charged}", status.as_u16());
    let sentence = upstream::sentence(kind, failure.and_then(Failure::field));
    with_hint(Error::new(kind, sentence)).with_source(Noted::new(note)).with_retry_after(retry_after)
}

/// Pictures that the vendor's own check has flagged, and that are withheld for that.
pub(super) fn flagged(cost: Option<f64>) -> Error {
    let charged = cost.map(|cost| format!(", charged {cost} USD")).unwrap_or_default();
    with_hint(Error::new(ErrorKind::ContentRejected, upstream::sentence(ErrorKind::ContentRejected, None)))
        .with_source(Noted::new(format!("flagged as NSFWContent{charged}")))
}

fn with_hint(error: Error) -> Error {
    match upstream::hint(error.kind()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, code: &str, parameter: Option<&str>) -> ErrorKind {
        let failure = Failure {
            code: (!code.is_empty()).then(|| code.to_owned()),
            parameter: parameter.map(str::to_owned),
            of_look_up: false,
        };
        failure.kind(StatusCode::from_u16(status).unwrap())
    }

    #[test]
    fn codes_are_told_by_their_shape_whatever_the_status() {
        for (code, expected) in [
            ("insufficientCredits", ErrorKind::QuotaExhausted),
            ("quotaExceeded", ErrorKind::QuotaExhausted),
            ("balanceTooLow", ErrorKind::QuotaExhausted),
            ("paymentRequired", ErrorKind::QuotaExhausted),
            ("providerQuotaExceeded", ErrorKind::QuotaExhausted),
            ("rateLimitExceeded", ErrorKind::RateLimited),
            ("providerRateLimitExceeded", ErrorKind::RateLimited),
            ("contentPolicyViolation", ErrorKind::ContentRejected),
            ("providerContentPolicyViolation", ErrorKind::ContentRejected),
            ("sensitiveContentDetected", ErrorKind::ContentRejected),
            ("unsafeContentDetected", ErrorKind::ContentRejected),
            ("nsfwContentDetected", ErrorKind::ContentRejected),
            ("promptBlocked", ErrorKind::ContentRejected),
            ("imageBlocked", ErrorKind::ContentRejected),
            ("moderationFailed", ErrorKind::ContentRejected),
            ("invalidProviderContent", ErrorKind::ContentRejected),
            ("invalidApiKey", ErrorKind::Unauthorized),
            ("missingApiKey", ErrorKind::Unauthorized),
            ("tokenExpired", ErrorKind::Unauthorized),
            ("accountSuspended", ErrorKind::Unauthorized),
            ("authTimeout", ErrorKind::Unauthorized),
            ("timeout", ErrorKind::Timeout),
            ("timeoutProvider", ErrorKind::Timeout),
            ("inferenceTimeout", ErrorKind::Timeout),
            ("modelNotFound", ErrorKind::ModelNotFound),
            ("unknownModel", ErrorKind::ModelNotFound),
            ("invalidModel", ErrorKind::ModelNotFound),
            ("loraNotFound", ErrorKind::Unsupported),
            ("taskCancelled", ErrorKind::Unavailable),
            ("taskFailedOrNotFound", ErrorKind::Unavailable),
            ("internalServerError", ErrorKind::Unavailable),
            ("serviceUnavailable", ErrorKind::Overloaded),
            ("noAvailableServer", ErrorKind::Overloaded),
            ("providerError", ErrorKind::Unavailable),
            ("inferenceError", ErrorKind::Unavailable),
            ("unsupportedParameter", ErrorKind::Unsupported),
            ("unknownParameter", ErrorKind::Unsupported),
            ("incompatibleParameters", ErrorKind::Unsupported),
            ("invalidPositivePrompt", ErrorKind::InvalidRequest),
            ("missingPositivePrompt", ErrorKind::InvalidRequest),
            ("maxStepsExceeded", ErrorKind::InvalidRequest),
            ("validationFailed", ErrorKind::InvalidRequest),
            ("conflictTaskUUID", ErrorKind::Unavailable),
            ("conflictingParameters", ErrorKind::InvalidRequest),
        ] {
            for status in [200, 400, 500] {
                assert_eq!(kind(status, code, None), expected, "{status} {code}");
            }
        }
    }

    #[test]
    fn a_code_that_nobody_knows_leaves_it_to_the_status() {
        for (status, expected) in [
            (200, ErrorKind::Protocol),
            (400, ErrorKind::InvalidRequest),
            (401, ErrorKind::Unauthorized),
            (402, ErrorKind::QuotaExhausted),
            (403, ErrorKind::Unauthorized),
            (404, ErrorKind::ModelNotFound),
            (408, ErrorKind::Timeout),
            (413, ErrorKind::Unsupported),
            (418, ErrorKind::InvalidRequest),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Unavailable),
            (503, ErrorKind::Overloaded),
            (504, ErrorKind::Timeout),
        ] {
            assert_eq!(kind(status, "somethingOfTomorrow", None), expected, "{status}");
            assert_eq!(kind(status, "", None), expected, "{status}");
        }
    }

    #[test]
    fn what_is_only_this_providers_limit_is_not_the_callers_mistake() {
        assert_eq!(kind(400, "invalidWidth", Some("width")), ErrorKind::Unsupported);
        assert_eq!(kind(400, "maxNumberResults", Some("numberResults")), ErrorKind::Unsupported);
        assert_eq!(kind(400, "invalidValue", Some("model")), ErrorKind::ModelNotFound);
        assert_eq!(kind(400, "invalidValue", Some("positivePrompt")), ErrorKind::InvalidRequest);
    }

    #[test]
    fn a_refusal_outweighs_other_errors() {
        let named = |code: &str| Failure { code: Some(code.to_owned()), ..Failure::default() };
        let both = [named("providerError"), named("promptBlocked")];
        let error = of_answer(StatusCode::OK, &both, None, Some(0.0038));
        assert_eq!(error.kind(), ErrorKind::ContentRejected);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "status 200, code promptBlocked, charged 0.0038 USD");
    }
}
