//! Logs: pretty on a terminal, JSON otherwise, always to stderr. No secret, no picture, and no prompt unless asked.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat, LogLevel};

/// Starts writing. A second call in the same process changes nothing.
pub fn start(log: &Log) {
    let pretty = match log.format {
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(directives(log.level))).with_writer(stderr);
    // A subscriber that is already there stays: the tests of one process share it.
    let _ = if pretty {
        builder.with_ansi(stderr().is_terminal()).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}

/// Easel's own lines at the level; of others only what someone should look at. Libraries at debug would write headers,
/// and actix's HTTP reader calls every malformed request of a stranger an error.
fn directives(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Off => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,actix_http=off,easel=info",
        LogLevel::Debug => "warn,actix_http=off,easel=debug",
        LogLevel::Trace => "warn,actix_http=off,easel=trace",
    }
}
