//! The gateway's half of a section that says how a provider is asked: the same for every kind.

use std::time::Duration;

/// `[providers.<id>] policy`. What each key means to its reader stands in `config/default.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Limit of each attempt.
    pub timeout: Duration,
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// First pause before an attempt is repeated; it doubles, jittered, and yields to what the provider asks.
    pub backoff: Duration,
    /// Upstream calls in a minute; 0: any number.
    pub requests_per_minute: u32,
    /// Upstream calls at once before the rate counts; at least 1.
    pub burst: u32,
    /// Upstream calls in flight at once; 0: any number.
    pub max_concurrent: u32,
    /// How long an attempt waits for its own turn under the two limits above.
    pub max_wait: Duration,
    /// When repeated failures hold requests back.
    pub breaker: BreakerPolicy,
}

impl Policy {
    /// The most that its attempts can take, with their waiting before and between them: no pause is longer than an attempt.
    pub fn longest(&self) -> Duration {
        let attempts = self.attempts.max(1);
        (self.max_wait + self.timeout) * attempts + self.timeout * (attempts - 1)
    }
}

/// `policy.breaker` of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerPolicy {
    /// Failures one after the other that open it; 0: there is no breaker.
    pub failures: u32,
    /// The part of the calls within `window` that must fail to open it, from 0 to 1; 0: only `failures` counts.
    pub ratio: f64,
    /// How far back calls count for `ratio`.
    pub window: Duration,
    /// Calls within `window` below which `ratio` says nothing.
    pub min_requests: u32,
    /// How long it stays open; it doubles with each probe that fails.
    pub cooldown: Duration,
    /// The most that it doubles to.
    pub max_cooldown: Duration,
}

/// As the settings have it where nobody says; every policy of a process comes from there.
#[cfg(test)]
impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(1),
            attempts: 1,
            backoff: Duration::from_millis(500),
            requests_per_minute: 0,
            burst: 1,
            max_concurrent: 0,
            max_wait: Duration::from_secs(5),
            breaker: BreakerPolicy::default(),
        }
    }
}

/// As the settings have it where nobody says.
#[cfg(test)]
impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            ratio: 0.5,
            window: Duration::from_secs(30),
            min_requests: 20,
            cooldown: Duration::from_secs(15),
            max_cooldown: Duration::from_mins(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_has_every_attempt_and_every_pause() {
        let seconds = Duration::from_secs;
        let policy = Policy { timeout: seconds(600), max_wait: seconds(5), ..Policy::default() };
        assert_eq!(policy.longest(), seconds(605));
        assert_eq!(Policy { attempts: 3, ..policy }.longest(), seconds(3 * 605 + 2 * 600));
    }
}
