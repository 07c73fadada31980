//! Bounds of what is kept.

use std::time::Duration;

use bytes::Bytes;

use super::size;
use crate::gateway::Scope;
use crate::gateway::cache::{Cache, CacheLimits};
use crate::gateway::key::{Key, Sharing};
use crate::generation::{
    GeneratedImage, Generation, GenerationRequest, ImageFormat, ModelId, ModelKey, ProviderId, Seed, Usage,
};
use crate::providers::scripted::request;

fn limits() -> CacheLimits {
    CacheLimits { max_bytes: 100 << 10, max_entry: 40 << 10, ttl: Duration::from_hours(1) }
}

fn key(seed: u32) -> Key {
    let request = GenerationRequest { seed: Some(Seed::from(seed)), ..request() };
    let model = ModelId { provider: ProviderId::new("p"), key: ModelKey::new("m") };
    Sharing::of(&request, &Scope::everybody()).key(&model, None).unwrap()
}

fn weighing(bytes: usize) -> Generation {
    let image = GeneratedImage {
        data: Bytes::from(vec![0; bytes]).into(),
        format: ImageFormat::Png,
        size: size(1, 1),
        seed: None,
    };
    let usage = Some(Usage { output_image: 7, ..Usage::default() });
    Generation { images: vec![image], cost_usd: Some(0.02), usage, ..Generation::default() }
}

#[test]
fn bytes_stay_below_their_bound_after_every_picture_and_the_oldest_goes_first() {
    let cache = Cache::new(limits());
    for seed in 0..50 {
        cache.keep(key(seed), &weighing(20 << 10));
        cache.tidy();
        assert!(cache.bytes() <= limits().max_bytes, "{}", cache.bytes());
        assert!(cache.get(&key(seed)).is_some(), "the newest is there: {seed}");
    }
    assert!(cache.get(&key(0)).is_none() && cache.get(&key(48)).is_some());
}

#[test]
fn what_is_too_large_is_not_kept_and_0_bytes_keep_nothing() {
    let cache = Cache::new(limits());
    cache.keep(key(1), &weighing(41 << 10));
    assert!(cache.get(&key(1)).is_none());
    cache.keep(key(1), &weighing(30 << 10));
    assert!(cache.get(&key(1)).is_some());

    let off = Cache::new(CacheLimits { max_bytes: 0, ..limits() });
    off.keep(key(1), &weighing(1));
    assert!(!off.is_on() && off.get(&key(1)).is_none() && off.bytes() == 0);
}

#[test]
fn pictures_are_gone_when_their_time_is_over() {
    let cache = Cache::new(CacheLimits { ttl: Duration::from_millis(50), ..limits() });
    cache.keep(key(1), &weighing(1));
    assert!(cache.get(&key(1)).is_some());
    std::thread::sleep(Duration::from_millis(80));
    assert!(cache.get(&key(1)).is_none());
}

#[test]
fn nothing_is_paid_for_what_was_kept() {
    let cache = Cache::new(limits());
    cache.keep(key(1), &weighing(5));
    let kept = cache.get(&key(1)).unwrap();
    assert_eq!((kept.cost_usd, kept.usage, &kept.images), (Some(0.0), None, &weighing(5).images));
}
