//! What the layers of one provider know beside its answers: read at any time, never waited for.

use std::sync::Arc;
use std::time::Duration;

use super::circuit::{BreakerState, Circuit};
use super::keys::Ring;
use super::limit::{Gate, Headroom};

/// The side channel from the layers to the health route; a provider without layers has an empty one.
#[derive(Debug, Default)]
pub struct Gauges {
    pub(super) circuit: Option<Arc<Circuit>>,
    pub(super) gate: Option<Arc<Gate>>,
    pub(super) ring: Option<Arc<Ring>>,
}

impl Gauges {
    /// How its breaker stands; `None` where its policy has none.
    pub fn breaker(&self) -> Option<BreakerState> {
        self.circuit.as_ref().map(|circuit| circuit.state())
    }

    /// For how long it is not asked because it failed repeatedly or wants its keys to rest; `None` while neither is so.
    pub fn held_back(&self) -> Option<Duration> {
        let open = match self.breaker() {
            Some(BreakerState::Open(left)) => Some(left),
            None | Some(BreakerState::Closed | BreakerState::HalfOpen | BreakerState::Probing) => None,
        };
        open.max(self.ring.as_ref().and_then(|ring| ring.all_rest()))
    }

    /// What is left of its limits.
    pub fn headroom(&self) -> Headroom {
        let (keys, keys_resting) = self.ring.as_ref().map_or((0, 0), |ring| ring.count());
        let limits = self.gate.as_ref().map(|gate| gate.headroom()).unwrap_or_default();
        Headroom { keys, keys_resting, ..limits }
    }
}
