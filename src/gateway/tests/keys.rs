//! What makes two requests the same: any change to what shapes the pictures is another key, and nothing else is.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{nonzero, size, target};
use crate::gateway::key::{Key, Sharing};
use crate::gateway::{Scope, fingerprint};
use crate::generation::{
    AspectRatio, CacheWish, FallbackPolicy, GenerationRequest, ImageFormat, Lora, ModelId, ModelKey, OnDisconnect,
    ProviderId, Seed, SizeWish, SourceImage,
};

fn model(provider: &str, key: &str) -> ModelId {
    ModelId { provider: ProviderId::new(provider), key: ModelKey::new(key) }
}

fn key(request: &GenerationRequest) -> Option<Key> {
    Sharing::of(request, &Scope::everybody()).key(&model("p", "m"), None)
}

fn source(byte: u8) -> SourceImage {
    SourceImage { bytes: Bytes::from(vec![byte; 9]), format: ImageFormat::Png, size: size(3, 3) }
}

/// One change of each sort that can be made to a request's pictures.
type Change = fn(&mut GenerationRequest);

const SHAPING: &[Change] = &[
    |request| request.prompt.push('!'),
    |request| request.negative_prompt = flipped(request.negative_prompt.as_ref(), String::new()),
    |request| request.negative_prompt = Some(request.negative_prompt.take().unwrap_or_default() + "x"),
    |request| request.count = request.count.saturating_add(1),
    |request| {
        request.size = match request.size {
            SizeWish::ModelDefault => SizeWish::Exact(size(16, 9)),
            SizeWish::Exact(_) => SizeWish::Aspect(AspectRatio { width: nonzero(16), height: nonzero(9) }),
            SizeWish::Aspect(_) => SizeWish::ModelDefault,
        };
    },
    |request| request.seed = Some(request.seed.map_or(Seed::from(0), |seed| seed.offset(1))),
    |request| request.steps = flipped(request.steps.as_ref(), NonZeroU32::MIN),
    |request| request.steps = Some(request.steps.map_or(NonZeroU32::MIN, |steps| steps.saturating_add(1))),
    |request| request.guidance_scale = flipped(request.guidance_scale.as_ref(), 0.0),
    |request| request.guidance_scale = Some(request.guidance_scale.unwrap_or_default() + 0.5),
    |request| request.scheduler = flipped(request.scheduler.as_ref(), String::new()),
    |request| request.image = flipped(request.image.as_ref(), source(1)),
    |request| request.mask = flipped(request.mask.as_ref(), source(1)),
    |request| request.reference_images.push(source(1)),
    |request| {
        request.reference_images.pop();
        request.reference_images.push(source(200));
    },
    |request| request.strength = flipped(request.strength.as_ref(), 0.5),
    |request| request.loras.push(Lora { name: "style".to_owned(), weight: 1.0 }),
    |request| {
        request.loras.pop();
        request.loras.push(Lora { name: "style".to_owned(), weight: 0.25 });
    },
    |request| request.strict = !request.strict,
    |request| {
        request.output_format = match request.output_format {
            None => Some(ImageFormat::Png),
            Some(ImageFormat::Png) => Some(ImageFormat::Jpeg),
            Some(ImageFormat::Jpeg) => Some(ImageFormat::Webp),
            Some(ImageFormat::Webp) => None,
        };
    },
    |request| request.output_quality = flipped(request.output_quality.as_ref(), 80),
    |request| request.embed_parameters = !request.embed_parameters,
];

/// One change of each sort that only says how the request is treated.
const TREATING: &[Change] = &[
    |request| request.target = target(Some("elsewhere"), request.target.model.as_deref()),
    |request| request.target = target(request.target.provider.as_deref(), Some("other")),
    |request| request.fallback = flipped(request.fallback.as_ref(), FallbackPolicy::Auto),
    |request| request.fallback = Some(FallbackPolicy::Never),
    |request| request.partial_images += 1,
    |request| request.on_disconnect = Some(OnDisconnect::Cancel),
    |request| request.on_disconnect = Some(OnDisconnect::Finish),
    |request| request.timeout = Some(request.timeout.unwrap_or_default() + Duration::from_nanos(1)),
    |request| request.cache = CacheWish::Auto,
];

fn flipped<T>(value: Option<&T>, other: T) -> Option<T> {
    if value.is_some() { None } else { Some(other) }
}

fn seeded() -> GenerationRequest {
    GenerationRequest { seed: Some(Seed::from(7)), cache: CacheWish::Any, ..GenerationRequest::new("a teapot") }
}

/// A request in which many fields are set.
fn any_request() -> impl Strategy<Value = GenerationRequest> {
    let words = || "[a-z ]{1,6}";
    let first = (words(), proptest::option::of(words()), 1..4_u32, 0..3_u8, 0..9_u32, proptest::option::of(1..9_u32));
    let second = (
        proptest::option::of(0.0..9.0_f64),
        proptest::option::of(words()),
        proptest::option::of(0..9_u8),
        proptest::collection::vec(0..9_u8, 0..3),
        proptest::collection::vec((words(), -1.0..1.0_f64), 0..3),
        any::<(bool, bool)>(),
        0..4_u8,
    );
    (first, second).prop_map(|(first, second)| {
        let (prompt, negative_prompt, count, shape, seed, steps) = first;
        let (guidance_scale, scheduler, image, references, loras, (strict, embed_parameters), format) = second;
        GenerationRequest {
            negative_prompt,
            count: nonzero(count),
            size: [
                SizeWish::ModelDefault,
                SizeWish::Exact(size(16, 9)),
                SizeWish::Aspect(AspectRatio { width: nonzero(16), height: nonzero(9) }),
            ][usize::from(shape)],
            seed: Some(Seed::from(seed)),
            steps: steps.map(nonzero),
            guidance_scale,
            scheduler,
            strength: image.map(|byte| f64::from(byte) / 9.0),
            mask: image.filter(|byte| *byte > 4).map(source),
            image: image.map(source),
            reference_images: references.into_iter().map(source).collect(),
            loras: loras.into_iter().map(|(name, weight)| Lora { name, weight }).collect(),
            strict,
            embed_parameters,
            output_format: [None, Some(ImageFormat::Png), Some(ImageFormat::Jpeg), Some(ImageFormat::Webp)]
                [usize::from(format)],
            output_quality: (format == 2).then_some(80),
            cache: CacheWish::Any,
            ..GenerationRequest::new(prompt)
        }
    })
}

proptest! {
    #[test]
    fn whatever_shapes_the_pictures_is_in_the_key(request in any_request(), which in 0..SHAPING.len()) {
        let mut changed = request.clone();
        SHAPING[which](&mut changed);
        prop_assume!(changed != request);
        prop_assert_ne!(key(&request), key(&changed), "change {}", which);
        prop_assert_ne!(fingerprint(&request, []), fingerprint(&changed, []));
        prop_assert_eq!(key(&changed), key(&changed.clone()));
    }

    #[test]
    fn how_a_request_is_treated_is_in_its_fingerprint_only(request in any_request(), which in 0..TREATING.len()) {
        let mut changed = request.clone();
        TREATING[which](&mut changed);
        prop_assume!(changed != request);
        prop_assert_eq!(key(&request), key(&changed), "change {}", which);
        prop_assert_ne!(fingerprint(&request, []), fingerprint(&changed, []));
    }

    #[test]
    fn two_different_requests_have_two_keys(one in any_request(), other in any_request()) {
        prop_assert_eq!(one == other, key(&one) == key(&other));
    }
}

#[test]
fn every_sort_of_change_shows() {
    let mut seen = vec![key(&seeded())];
    for change in SHAPING {
        let mut changed = seeded();
        change(&mut changed);
        let new = key(&changed);
        assert!(changed != seeded() && new.is_some());
        seen.push(new);
    }
    // The two changes of an empty list are the only twins: what is popped is not there.
    seen.sort_by_key(|key| format!("{key:?}"));
    seen.dedup();
    assert!(seen.len() > SHAPING.len() - 4, "{} of {}", seen.len(), SHAPING.len());
}

#[test]
fn who_makes_the_pictures_for_whom_is_in_the_key() {
    let sharing = Sharing::of(&seeded(), &Scope::everybody());
    let base = sharing.key(&model("p", "m"), None);
    assert_ne!(base, sharing.key(&model("q", "m"), None));
    assert_ne!(base, sharing.key(&model("p", "n"), None));
    assert_ne!(sharing.key(&model("pm", "x"), None), sharing.key(&model("p", "mx"), None));
    assert_ne!(base, sharing.key(&model("p", "m"), Some("")));
    assert_ne!(sharing.key(&model("p", "m"), Some("a")), sharing.key(&model("p", "m"), Some("b")));
    assert_ne!(base, Sharing::of(&seeded(), &Scope::of("")).key(&model("p", "m"), None));
    // With a seed, a name for sending it again makes no difference.
    assert_eq!(base, Sharing::of(&seeded(), &Scope::everybody().once([1; 32])).key(&model("p", "m"), None));
}

#[test]
fn a_request_has_a_key_only_where_it_may_be_shared() {
    let with = |cache, seed| key(&GenerationRequest { seed, cache, ..seeded() }).is_some();
    let seed = Some(Seed::from(7));
    assert!(with(CacheWish::Auto, seed) && with(CacheWish::Any, seed) && with(CacheWish::Any, None));
    assert!(!with(CacheWish::Auto, None) && !with(CacheWish::Never, seed) && !with(CacheWish::Never, None));
    let once = |number| {
        let request = GenerationRequest { cache: CacheWish::Auto, seed: None, ..seeded() };
        Sharing::of(&request, &Scope::everybody().once([number; 32])).key(&model("p", "m"), None)
    };
    assert!(once(1).is_some() && once(1) != once(2));
    let never = GenerationRequest { cache: CacheWish::Never, ..seeded() };
    assert_eq!(Sharing::of(&never, &Scope::everybody().once([1; 32])).key(&model("p", "m"), None), None);
}

#[test]
fn what_is_said_beside_a_request_is_in_its_fingerprint() {
    let beside: [&[&str]; 5] = [&[], &[""], &["a", "b"], &["ab"], &["b", "a"]];
    let mut all: Vec<_> = beside.iter().map(|texts| fingerprint(&seeded(), texts.iter().copied())).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), beside.len());
}

#[test]
fn another_way_is_another_flight_and_the_same_request() {
    let returned = GenerationRequest { via: "one, two".parse().unwrap(), ..seeded() };
    assert_ne!(key(&seeded()), key(&returned));
    assert_eq!(fingerprint(&seeded(), []), fingerprint(&returned, []));
}

#[test]
fn the_two_zeros_are_one_number() {
    let with = |guidance_scale| key(&GenerationRequest { guidance_scale, ..seeded() });
    assert_eq!(with(Some(0.0)), with(Some(-0.0)));
    assert_ne!(with(Some(0.0)), with(None));
}
