//! The engine's failures in the words of all providers.

use easel_engine_protocol::{EngineError, EngineErrorKind};

use super::places::Places;
use crate::providers::{Error, ErrorKind};

/// A failure that the engine reports. Its sentence is written for people and is kept, but for where its files lie.
pub(super) fn of_engine(error: &EngineError, places: &Places) -> Error {
    let kind = match error.kind {
        EngineErrorKind::InvalidRequest => ErrorKind::InvalidRequest,
        // Either way the configuration names a model that cannot be used, and the next provider may help.
        EngineErrorKind::ModelNotFound | EngineErrorKind::ModelBroken => ErrorKind::ModelNotFound,
        EngineErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        EngineErrorKind::Overloaded => ErrorKind::Overloaded,
        EngineErrorKind::DeviceUnavailable | EngineErrorKind::Cancelled => ErrorKind::Unavailable,
        EngineErrorKind::Internal => ErrorKind::Internal,
    };
    let result = Error::new(kind, places.hide(&error.message));
    match (&error.hint, kind) {
        (Some(hint), _) => result.with_hint(places.hide(hint)),
        (None, ErrorKind::ModelNotFound) => {
            result.with_hint("put a whole model in its place, or take it out of the configuration")
        }
        (None, _) => result,
    }
}

/// The engine's process ended.
pub(super) fn engine_ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the engine ended while it worked").with_hint("ask again: it is started anew")
}

/// The engine said something that is not in the protocol.
pub(super) fn not_understood(what: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the engine's answer is not understood: {what}"))
        .with_hint("build the gateway and the engine from the same version")
}
