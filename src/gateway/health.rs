//! What became of each provider's turns: the ledger behind the health route. It asks nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::Registered;
use crate::generation::{Availability, ProviderId};
use crate::providers::layers::{BreakerState, Headroom};

/// How many turns of each provider are remembered.
const REMEMBERED: usize = 10;

/// How one provider fares.
#[derive(Debug, Clone)]
pub struct ProviderHealth {
    /// Which provider.
    pub id: ProviderId,
    /// Whether it can make a picture now.
    pub availability: Availability,
    /// How its breaker stands; `None` where its policy has none.
    pub breaker: Option<BreakerState>,
    /// What is left of its limits.
    pub headroom: Headroom,
    /// Its last turns, the latest first.
    pub recent: Vec<Happened>,
    /// Turns that made the pictures, since the start of the process.
    pub succeeded: u64,
    /// Turns that failed, since the start of the process.
    pub failed: u64,
}

/// One turn of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    /// `ok` or the category of the failure.
    pub outcome: &'static str,
    /// When it ended.
    pub at: SystemTime,
}

/// The turns of all providers, by their position in the registry.
pub(super) struct Ledger(Vec<Mutex<Page>>);

#[derive(Default)]
struct Page {
    recent: VecDeque<Happened>,
    succeeded: u64,
    failed: u64,
}

impl Ledger {
    pub(super) fn new(providers: usize) -> Self {
        Self((0..providers).map(|_| Mutex::default()).collect())
    }

    /// Notes a turn of the provider at `position`: `None` when it made the pictures, else the category.
    pub(super) fn note(&self, position: usize, failure: Option<&'static str>) {
        let Some(page) = self.0.get(position) else { return };
        let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => page.succeeded += 1,
            Some(_) => page.failed += 1,
        }
        page.recent.truncate(REMEMBERED - 1);
        page.recent.push_front(Happened { outcome: failure.unwrap_or("ok"), at: SystemTime::now() });
    }

    pub(super) fn health(&self, providers: &[Registered]) -> Vec<ProviderHealth> {
        providers
            .iter()
            .zip(&self.0)
            .map(|(entry, page)| {
                let availability = entry.provider.is_available();
                let page = page.lock().unwrap_or_else(PoisonError::into_inner);
                ProviderHealth {
                    id: entry.id.clone(),
                    availability,
                    breaker: entry.gauges.breaker(),
                    headroom: entry.gauges.headroom(),
                    recent: page.recent.iter().copied().collect(),
                    succeeded: page.succeeded,
                    failed: page.failed,
                }
            })
            .collect()
    }
}
