//! Several keys take turns, and a key that the provider limits or refuses rests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ProviderId};
use crate::providers::{Built, Call, Error, ErrorKind, Provider, retry_after};

/// How long a key rests that was refused or whose account is empty, while there are others.
const REFUSED: Duration = Duration::from_mins(5);
/// How long a key rests at least that was limited, while there are others: so that they take turns and do not spin.
const LIMITED: Duration = Duration::from_secs(1);

/// The same provider with each of its keys.
pub(super) struct Keys {
    id: ProviderId,
    providers: Vec<Arc<dyn Provider>>,
    ring: Arc<Ring>,
}

/// Whose turn it is, and who rests.
#[derive(Debug)]
pub(super) struct Ring(Mutex<Turns>);

#[derive(Debug)]
struct Turns {
    next: usize,
    rests: Vec<Option<Rest>>,
}

/// A key's rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rest {
    until: Instant,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Limited,
    Refused,
    Empty,
}

impl Ring {
    pub(super) fn new(keys: usize) -> Self {
        Self(Mutex::new(Turns { next: 0, rests: vec![None; keys] }))
    }

    /// Keys in all, and those that rest.
    pub(super) fn count(&self) -> (u32, u32) {
        let (turns, now) = (self.lock(), Instant::now());
        let resting = turns.rests.iter().filter(|rest| is_resting(rest.as_ref(), now)).count();
        (u32::try_from(turns.rests.len()).unwrap_or(u32::MAX), u32::try_from(resting).unwrap_or(u32::MAX))
    }

    /// For how long every key rests, if they do.
    pub(super) fn all_rest(&self) -> Option<Duration> {
        self.rest().map(|rest| rest.until.saturating_duration_since(Instant::now()))
    }

    /// The key whose turn it is, or the rest that ends first.
    fn take(&self) -> Result<usize, Rest> {
        let (mut turns, now) = (self.lock(), Instant::now());
        let keys = turns.rests.len();
        let ready = |index: &usize| !is_resting(turns.rests.get(*index).and_then(Option::as_ref), now);
        let turn = (0..keys).map(|step| (turns.next + step) % keys).find(ready);
        if let Some(turn) = turn {
            turns.next = (turn + 1) % keys;
            return Ok(turn);
        }
        // All of them rest, so there is a first to wake.
        Err(first_to_wake(&turns.rests).unwrap_or(Rest { until: now, why: Why::Limited }))
    }

    /// The rest that ends first, if every key rests.
    fn rest(&self) -> Option<Rest> {
        let (turns, now) = (self.lock(), Instant::now());
        let all = turns.rests.iter().all(|rest| is_resting(rest.as_ref(), now));
        first_to_wake(&turns.rests).filter(|_| all)
    }

    /// Lets the key rest; an earlier rest that is longer stays.
    fn let_rest(&self, key: usize, rest: Rest) {
        if let Some(known) = self.lock().rests.get_mut(key)
            && known.is_none_or(|known| known.until < rest.until)
        {
            *known = Some(rest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_resting(rest: Option<&Rest>, now: Instant) -> bool {
    rest.is_some_and(|rest| rest.until > now)
}

fn first_to_wake(rests: &[Option<Rest>]) -> Option<Rest> {
    rests.iter().flatten().min_by_key(|rest| rest.until).copied()
}

impl Keys {
    pub(super) fn new(id: ProviderId, built: Built) -> Self {
        let mut providers = built.others;
        providers.insert(0, built.first);
        let ring = Arc::new(Ring::new(providers.len()));
        Self { id, providers, ring }
    }

    pub(super) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring)
    }

    /// What a failure means for the key: whether and how long it rests.
    fn rest(&self, error: &Error) -> Option<Rest> {
        let is_only = self.providers.len() == 1;
        let (rest, why) = match (error.kind(), error.retry_after()) {
            (ErrorKind::RateLimited, asked) if !is_only => (asked.unwrap_or_default().max(LIMITED), Why::Limited),
            (ErrorKind::RateLimited, Some(asked)) => (asked, Why::Limited),
            // The only key is tried again: the next request shall see the truth for itself.
            (ErrorKind::Unauthorized, _) if !is_only => (REFUSED, Why::Refused),
            (ErrorKind::QuotaExhausted, asked) if !is_only => (asked.unwrap_or_default().max(REFUSED), Why::Empty),
            (
                ErrorKind::RateLimited
                | ErrorKind::Unauthorized
                | ErrorKind::QuotaExhausted
                | ErrorKind::InvalidRequest
                | ErrorKind::Unsupported
                | ErrorKind::ContentRejected
                | ErrorKind::ModelNotFound
                | ErrorKind::Overloaded
                | ErrorKind::OutOfMemory
                | ErrorKind::Timeout
                | ErrorKind::Unavailable
                | ErrorKind::NoImage
                | ErrorKind::Protocol
                | ErrorKind::Internal,
                _,
            ) => return None,
        };
        Some(Rest { until: Instant::now() + rest.min(retry_after::MOST), why })
    }

    /// The failure as the other layers see it, once its key rests where it must.
    fn after(&self, key: usize, error: Error) -> Error {
        let Some(rest) = self.rest(&error) else { return error };
        self.ring.let_rest(key, rest);
        match self.ring.rest() {
            None if self.providers.len() == 1 => error,
            None => {
                let (number, category) = (key + 1, error.kind().category());
                if rest.why == Why::Limited {
                    tracing::warn!(provider = %self.id, number, category, "a key rests; the others take its turns");
                } else {
                    // Nobody else will notice while the others help out.
                    tracing::error!(provider = %self.id, number, category, "a key needs a hand; it rests");
                }
                error.with_another_key()
            }
            // Whoever comes back should find a key that is awake.
            Some(first) if rest.why == Why::Limited => {
                error.with_retry_after(Some(first.until.saturating_duration_since(Instant::now())))
            }
            Some(_) => error,
        }
    }
}

impl Rest {
    /// Category, what is the matter, and what to do about it, where every key rests.
    fn words(self) -> (ErrorKind, String, &'static str) {
        let seconds = super::whole_seconds(self.until.saturating_duration_since(Instant::now()));
        match self.why {
            Why::Limited => (
                ErrorKind::RateLimited,
                format!("the provider takes no more requests for {seconds} s"),
                "wait, or add keys to api_keys",
            ),
            Why::Refused => (
                ErrorKind::Unauthorized,
                format!("the provider refused every key; the next one is tried in {seconds} s"),
                "check the keys and what they may do at the provider",
            ),
            Why::Empty => (
                ErrorKind::QuotaExhausted,
                format!("no key's account at the provider has anything left; the next one is tried in {seconds} s"),
                "add credit at the provider",
            ),
        }
    }
}

#[async_trait]
impl Provider for Keys {
    fn capabilities(&self) -> Arc<Capabilities> {
        // They differ in the key and in nothing else.
        self.providers.first().map(|provider| provider.capabilities()).unwrap_or_default()
    }

    fn is_available(&self) -> Availability {
        let inner = self.providers.iter().map(|provider| provider.is_available());
        let first = inner.min_by_key(|availability| !availability.is_available());
        match (first, self.ring.rest()) {
            (Some(Availability::Available), Some(rest)) => {
                let (kind, detail, remedy) = rest.words();
                Availability::Unavailable { reason: kind.category(), detail, remedy: remedy.to_owned() }
            }
            (Some(inner), _) => inner,
            (None, _) => Availability::Available,
        }
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let held_back = |rest: Rest| {
            let (kind, message, hint) = rest.words();
            let left = rest.until.saturating_duration_since(Instant::now());
            Error::new(kind, message).with_hint(hint).with_retry_after(Some(left)).held_back()
        };
        let key = self.ring.take().map_err(held_back)?;
        let Some(provider) = self.providers.get(key) else {
            return Err(Error::new(ErrorKind::Internal, "there is no such key"));
        };
        provider.generate(request, call).await.map_err(|error| self.after(key, error))
    }
}
