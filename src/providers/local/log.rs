//! The engine's log becomes part of ours, line by line, at its own levels.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

/// Longest line that is kept in one piece.
const MAX_LINE: u64 = 8 << 10;

/// Passes lines on until there are no more. A line is a JSON object as the engine writes it, or whatever the libraries
/// below it print.
pub(super) fn forward(provider: &str, log: impl Read) {
    let mut reader = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let (level, text) = read(&line);
        match level {
            _ if text.is_empty() => {}
            Level::Error => tracing::error!(provider, "engine: {text}"),
            Level::Warn => tracing::warn!(provider, "engine: {text}"),
            Level::Info => tracing::info!(provider, "engine: {text}"),
            Level::Debug => tracing::debug!(provider, "engine: {text}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// The level and what is said, with the fields after the message.
fn read(line: &[u8]) -> (Level, String) {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(line) else {
        // Native libraries print what they think somebody should know.
        return (Level::Warn, String::from_utf8_lossy(line).trim_end().to_owned());
    };
    let word = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let level = match word("level") {
        "ERROR" => Level::Error,
        "WARN" => Level::Warn,
        "DEBUG" | "TRACE" => Level::Debug,
        _ => Level::Info,
    };
    let mut text = word("message").to_owned();
    for (name, value) in &fields {
        if !matches!(name.as_str(), "timestamp" | "level" | "message" | "target") {
            text = format!("{text} {name}={value}");
        }
    }
    (level, text)
}

#[cfg(test)]
mod tests {
    use super::{Level, read};

    #[test]
    fn a_line_of_the_engine_keeps_its_level_and_fields() {
        let line = br#"{"timestamp":"t","level":"WARN","message":"prompt cut","tokens":80,"target":"x"}"#;
        assert_eq!(read(line), (Level::Warn, "prompt cut tokens=80".to_owned()));
    }

    #[test]
    fn a_line_of_a_library_is_a_warning() {
        assert_eq!(read(b"OMP: Info #276\n"), (Level::Warn, "OMP: Info #276".to_owned()));
        assert_eq!(read(b"\n").1, "");
    }
}
