//! A random script: providers with policies, what their upstreams do one request after the other, and requests.

use std::fmt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use provider_sim::{Behaviour, Fault, Vendor};

use crate::faults;

/// What one Easel lives through.
#[derive(Clone)]
pub struct Script {
    pub houses: Vec<House>,
    /// All of them are sent at once.
    pub wishes: Vec<Wish>,
}

/// A provider and the upstream behind it.
#[derive(Debug, Clone)]
pub struct House {
    pub vendor: Vendor,
    pub attempts: u32,
    pub timeout_ms: u64,
    /// Pictures in one call.
    pub most: u32,
    /// Failures in a row that open its breaker; 0: it has none.
    pub breaker: u32,
    /// Calls at once; 0: any number.
    pub at_once: u32,
    /// Calls in a minute; 0: any number.
    pub per_minute: u32,
    pub finishes: bool,
    /// What its first requests meet.
    pub first: Vec<Meets>,
    /// What all later ones meet.
    pub then: Meets,
    /// What look-ups meet.
    pub lookups: Option<Fault>,
}

/// What a request meets.
#[derive(Clone)]
pub struct Meets {
    pub fault: Option<Fault>,
    pub delay_ms: u64,
    pub shape: u8,
    pub pending: u32,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Wish {
    pub count: u32,
    pub size: (u32, u32),
    pub seed: Option<u64>,
    pub has_image: bool,
    /// Which provider is named, if one is.
    pub named: Option<usize>,
    pub fallback: Option<bool>,
    pub timeout_ms: u64,
    /// Previews that it wants to see; `None`: the answer comes at once.
    pub previews: Option<u8>,
}

impl House {
    /// The keys of its policy.
    pub fn policy(&self) -> String {
        let Self { timeout_ms, attempts, breaker, at_once, per_minute, .. } = self;
        let leave = if self.finishes { "finish" } else { "cancel" };
        format!(
            "timeout = \"{timeout_ms}ms\", attempts = {attempts}, backoff = \"10ms\", max_concurrent = {at_once}, \
             requests_per_minute = {per_minute}, burst = 2, max_wait = \"300ms\", on_disconnect = \"{leave}\", \
             breaker = {{ failures = {breaker}, cooldown = \"200ms\" }}"
        )
    }

    /// Pictures in one call: some make one whatever is declared.
    fn pictures_in_a_call(&self) -> u32 {
        if matches!(self.vendor, Vendor::Gemini | Vendor::LocalAi) { 1 } else { self.most }
    }

    /// Requests for pictures that the policy allows for one request for so many.
    pub fn allowed(&self, count: u32) -> usize {
        (self.attempts * count.div_ceil(self.pictures_in_a_call())) as usize
    }
}

impl Meets {
    pub fn behaviour(&self, key: &str, lookups: Option<Fault>) -> Behaviour {
        Behaviour {
            fault: self.fault,
            delay: Duration::from_millis(self.delay_ms),
            shape: self.shape,
            pending: self.pending,
            lookups,
            ..Behaviour::default().with_key(key)
        }
    }
}

impl fmt::Debug for Script {
    /// A line for each provider and each request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let houses = self.houses.iter().map(|house| format!("\n  {house:?}"));
        let wishes = self.wishes.iter().map(|wish| format!("\n  {wish:?}"));
        f.write_str(&houses.chain(wishes).collect::<String>())
    }
}

impl fmt::Debug for Meets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, delay_ms, shape, pending } = self;
        let fault = fault.map_or_else(|| "nothing".to_owned(), |fault| fault.to_string());
        write!(f, "{fault}")?;
        let more = [("after ms", *delay_ms), ("shape", (*shape).into()), ("pending", (*pending).into())];
        more.iter().filter(|(_, number)| *number > 0).try_for_each(|(what, number)| write!(f, " {what} {number}"))
    }
}

/// Any script. Simple ones come first, so that what is found becomes small.
pub fn any() -> impl Strategy<Value = Script> {
    (1..=3usize).prop_flat_map(|count| {
        (vec(house(), count), vec(wish(count), 1..=3)).prop_map(|(houses, wishes)| Script { houses, wishes })
    })
}

fn house() -> impl Strategy<Value = House> {
    let vendors = [Vendor::OpenAi, Vendor::Runware, Vendor::SdCpp, Vendor::Easel, Vendor::LocalAi, Vendor::Gemini];
    let policy = (1..=3u32, 200..=600u64, 1..=3u32, select(vec![0, 0, 1, 2, 4]), select(vec![0, 0, 1, 2]));
    let limits = (select(vec![0, 0, 0, 60, 600]), any_bool(), option::weighted(0.2, fault()));
    (select(vendors.to_vec()), policy, limits, vec(meets(), 0..=5), meets()).prop_map(
        |(vendor, (attempts, timeout_ms, most, breaker, at_once), (per_minute, finishes, lookups), first, then)| {
            House { vendor, attempts, timeout_ms, most, breaker, at_once, per_minute, finishes, first, then, lookups }
        },
    )
}

fn any_bool() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.3)
}

fn meets() -> impl Strategy<Value = Meets> {
    let delay = prop_oneof![4 => Just(0), 1 => 0..=400u64];
    (option::weighted(0.7, fault()), delay, select(vec![0, 0, 0, 1, 2]), select(vec![0, 0, 1, 2]))
        .prop_map(|(fault, delay_ms, shape, pending)| Meets { fault, delay_ms, shape, pending })
}

fn fault() -> impl Strategy<Value = Fault> {
    select(faults::of_all(&[Vendor::OpenAi, Vendor::Runware, Vendor::Gemini]))
}

fn wish(houses: usize) -> impl Strategy<Value = Wish> {
    // A size of its own for each kind that has few, else none of its providers would ever be asked.
    let size = select(vec![(64, 48), (128, 128), (512, 512)]);
    let named = option::weighted(0.4, 0..houses);
    let seed = option::of(0..=9_007_199_254_740_991_u64);
    let route = (named, option::of(prop::bool::ANY));
    let previews = option::weighted(0.2, 0..=3u8);
    (1..=4u32, size, seed, prop::bool::weighted(0.2), route, 300..=1_500u64, previews).prop_map(
        |(count, size, seed, has_image, (named, fallback), timeout_ms, previews)| Wish {
            count,
            size,
            seed,
            has_image,
            named,
            fallback,
            timeout_ms,
            previews,
        },
    )
}
