//! How the stand-in behaves until told otherwise. Pure data; nothing here does I/O.

use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::Fault;

/// How requests for pictures are answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// Wait before the answer begins, as real services do.
    #[serde(serialize_with = "write_duration", deserialize_with = "read_duration")]
    pub delay: Duration,
    /// What goes wrong; `None` for pictures.
    pub fault: Option<Fault>,
    /// How many requests the fault meets before all is well again; `None` for always.
    pub times: Option<u32>,
    /// Size of each encoded picture, reached by noise as far as its pixels allow; `None` for what it compresses to.
    pub bytes: Option<usize>,
    /// Other seeds draw other pictures of the same prompt.
    pub seed: u64,
    /// Size that `"auto"` and an absent size stand for; `None` for the model's own.
    pub size: Option<(u32, u32)>,
    /// The only key that is let in; `None` for everybody.
    pub key: Option<String>,
    /// What meets requests that buy nothing (lists of models, Runware's `getResponse`); `fault` never does.
    pub lookups: Option<Fault>,
    /// How often an asynchronous task, or one whose answer was lost, is still being worked on when asked for.
    pub pending: u32,
    /// Another form of the same answer, as some of the vendor's servers and proxies send it; 0 is the documented one.
    pub shape: u8,
}

impl Behaviour {
    /// Fails in one way, always.
    pub fn failing(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// Answers after this long.
    pub fn slow(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// The fault meets only the next `times` requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Each answer begins after this long.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Each encoded picture is about this large.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Only this key is let in.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Requests that buy nothing fail in this way.
    #[must_use]
    pub fn with_lookups_failing(mut self, fault: Fault) -> Self {
        self.lookups = Some(fault);
        self
    }

    /// Work is still going on this many times when asked for.
    #[must_use]
    pub fn with_pending(mut self, pending: u32) -> Self {
        self.pending = pending;
        self
    }

    /// Answers take this form.
    #[must_use]
    pub fn with_shape(mut self, shape: u8) -> Self {
        self.shape = shape;
        self
    }

    /// The fault that meets this request, and one time less to go.
    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        let fault = self.fault?;
        if let Some(times) = &mut self.times {
            *times = times.checked_sub(1)?;
        }
        Some(fault)
    }
}

/// `"200ms"` or `"5s"`.
///
/// # Errors
/// A sentence that names the units, for anything else.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration: write it as 200ms or 5s");
    if let Some(milliseconds) = text.strip_suffix("ms") {
        milliseconds.parse().map(Duration::from_millis).map_err(|_| wrong())
    } else if let Some(seconds) = text.strip_suffix('s') {
        seconds.parse().map(Duration::from_secs).map_err(|_| wrong())
    } else {
        Err(wrong())
    }
}

/// `"900"`, `"64KB"` or `"2MB"` (powers of 1024).
///
/// # Errors
/// A sentence that names the units, for anything else.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = match (text.strip_suffix("KB"), text.strip_suffix("MB")) {
        (Some(number), _) => (number, 1024),
        (None, Some(number)) => (number, 1024 * 1024),
        (None, None) => (text, 1),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("'{text}' is not a size: write it as 900, 64KB or 2MB"))
}

fn write_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{}ms", duration.as_millis()))
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_as_many_requests_as_asked() {
        let mut behaviour = Behaviour::failing(Fault::Reset).times(2);
        let met: Vec<bool> = (0..4).map(|_| behaviour.take_fault().is_some()).collect();
        assert_eq!(met, [true, true, false, false]);
    }

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert!(parse_duration("5").is_err());
        assert_eq!(parse_bytes("2MB"), Ok(2 << 20));
        assert_eq!(parse_bytes("1KB"), Ok(1 << 10));
        assert!(parse_bytes("many").is_err());
    }

    #[test]
    fn behaviour_goes_through_json_and_refuses_unknown_fields() {
        let behaviour = Behaviour::failing(Fault::Status(503)).with_delay(Duration::from_millis(5)).times(3);
        let json = serde_json::to_string(&behaviour).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Behaviour>(&json).ok(), Some(behaviour));
        assert!(serde_json::from_str::<Behaviour>(r#"{"dellay":"5ms"}"#).is_err());
    }
}
