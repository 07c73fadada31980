//! What becomes of every way in which an upstream can fail, through the front door: each fault of each vendor (the
//! matrix, committed as `docs/failure-matrix.md`), random scripts of faults, and clients that leave at random moments.
//!
//! What must hold stands in [`rule`], [`scripts`] and [`departures`] and comes from `docs/ERRORS.md` and
//! `docs/PROVIDERS.md`; the table only records what is, and cannot make it right.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod departures;
#[path = "../front_door/easel.rs"]
#[expect(dead_code, reason = "shared with the other tests of the front door, which use all of it")]
mod easel;
mod events;
mod faults;
mod leaks;
mod matrix;
mod rule;
mod script;
mod scripts;
mod table;
mod vendors;

/// These tests take turns: each fills the machine by itself, and measures time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A count that is small for every change and full where `EASEL_TEST_LEVEL` is `long`.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how much they shall do")]
fn count(short: usize, long: usize) -> usize {
    if std::env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long") { long } else { short }
}

/// Another number than the usual one, to look further than every run does.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how much they shall do")]
fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
