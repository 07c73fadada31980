//! Sizes and ratios.

use proptest::prelude::*;

use super::{nonzero, size};
use crate::gateway::sizing::{for_ratio, nearest, refusal};
use crate::generation::{AspectRatio, ImageSize, Limits};

fn ratio(width: u32, height: u32) -> AspectRatio {
    AspectRatio { width: nonzero(width), height: nonzero(height) }
}

fn listed() -> Limits {
    Limits { sizes: vec![size(1024, 1024), size(1536, 1024), size(1024, 1536)], ..Limits::default() }
}

fn local() -> Limits {
    Limits { size_multiple: Some(nonzero(8)), max_side: Some(2048), min_side: Some(64), ..Limits::default() }
}

#[test]
fn a_ratio_takes_the_nearest_listed_size() {
    for ((width, height), expected) in [
        ((1, 1), (1024, 1024)),
        ((16, 9), (1536, 1024)),
        ((9, 16), (1024, 1536)),
        ((5, 4), (1536, 1024)),
        ((100, 1), (1536, 1024)),
    ] {
        let found = for_ratio(ratio(width, height), &listed(), None);
        assert_eq!(found, size(expected.0, expected.1), "{width}:{height}");
    }
}

#[test]
fn among_listed_sizes_of_one_ratio_the_one_like_the_default_is_taken() {
    let squares = Limits { sizes: vec![size(256, 256), size(512, 512), size(1024, 1024)], ..Limits::default() };
    assert_eq!(for_ratio(ratio(1, 1), &squares, Some(size(512, 512))), size(512, 512));
    assert_eq!(for_ratio(ratio(1, 1), &squares, None), size(1024, 1024));
}

#[test]
fn a_ratio_keeps_the_pixels_of_the_default_size() {
    assert_eq!(for_ratio(ratio(16, 9), &local(), Some(size(1024, 1024))), size(1368, 768));
    assert_eq!(for_ratio(ratio(1, 1), &local(), Some(size(128, 128))), size(128, 128));
    assert_eq!(for_ratio(ratio(2, 1), &local(), Some(size(128, 128))), size(184, 88));
    // The longest side gives way, and the other with it.
    assert_eq!(for_ratio(ratio(4, 1), &local(), Some(size(2048, 2048))), size(2048, 512));
}

#[test]
fn a_size_that_cannot_be_is_told_with_its_reason() {
    assert_eq!(refusal(size(512, 512), &local()), None);
    assert_eq!(refusal(size(513, 512), &local()).unwrap(), "its sides are multiples of 8");
    assert_eq!(refusal(size(32, 512), &local()).unwrap(), "its shortest side is 64");
    assert_eq!(refusal(size(4096, 512), &local()).unwrap(), "its longest side is 2048");
    assert_eq!(refusal(size(512, 512), &listed()).unwrap(), "it makes 1024x1024, 1536x1024, 1024x1536");
    let few = Limits { max_pixels: Some(100_000), ..Limits::default() };
    assert_eq!(refusal(size(512, 512), &few).unwrap(), "it makes at most 100000 pixels");
    assert_eq!(refusal(size(1, 9999), &Limits::default()), None);
}

#[test]
fn the_nearest_size_is_near() {
    assert_eq!(nearest(size(513, 300), &local()), size(512, 304));
    assert_eq!(nearest(size(1, 100_000), &local()), size(64, 2048));
    assert_eq!(nearest(size(1500, 1000), &listed()), size(1536, 1024));
}

/// The limits of a model that makes any size of at least 655,360 pixels that is not too slim.
fn large() -> Limits {
    Limits {
        size_multiple: Some(nonzero(16)),
        max_side: Some(3840),
        min_pixels: Some(655_360),
        max_pixels: Some(8_294_400),
        max_ratio: Some(nonzero(3)),
        ..Limits::default()
    }
}

#[test]
fn what_is_too_small_or_too_slim_is_refused_and_has_a_near_size() {
    let limits = large();
    assert_eq!(refusal(size(512, 512), &limits).unwrap(), "it makes at least 655360 pixels");
    assert_eq!(refusal(size(3200, 1024), &limits).unwrap(), "its longer side is at most 3 times the shorter one");
    assert_eq!(refusal(size(3072, 1024), &limits), None);
    assert_eq!(nearest(size(512, 512), &limits), size(816, 816));
    assert_eq!(nearest(size(8000, 100), &limits), size(3840, 1280));
    let default = Some(size(1024, 1024));
    assert_eq!(for_ratio(ratio(16, 9), &limits, default), size(1360, 768));
    let slim = for_ratio(ratio(1, 9), &limits, default);
    assert_eq!((slim.height.get() / slim.width.get(), refusal(slim, &limits)), (3, None));
}

fn limits() -> impl Strategy<Value = Limits> {
    let side = || prop::option::of(1..2000_u32);
    let multiple = prop::option::of(prop::sample::select(vec![1, 2, 8, 16, 64]));
    let pixels = (prop::option::of(1..4_000_000_u64), prop::option::of(1..4_000_000_u64), prop::option::of(1..5_u32));
    (side(), side(), multiple, pixels).prop_filter_map(
        "no size is within them",
        |(min_side, max_side, multiple, (min_pixels, max_pixels, max_ratio))| {
            let step = multiple.unwrap_or(1);
            let fewest = min_pixels.map_or(1, |fewest| (1..=2000).find(|side| side * side >= fewest).unwrap());
            let least = u64::from(min_side.unwrap_or(1)).max(fewest).next_multiple_of(step.into());
            let possible = max_side.is_none_or(|most| u64::from(most) >= least)
                && max_pixels.is_none_or(|most| least * least <= most);
            let (size_multiple, max_ratio) = (multiple.map(nonzero), max_ratio.map(nonzero));
            possible.then_some(Limits {
                min_side,
                max_side,
                size_multiple,
                min_pixels,
                max_pixels,
                max_ratio,
                ..Limits::default()
            })
        },
    )
}

fn any_size() -> impl Strategy<Value = ImageSize> {
    (1..5000_u32, 1..5000_u32).prop_map(|(width, height)| size(width, height))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_nearest_size_can_be_made(wished in any_size(), limits in limits()) {
        let found = nearest(wished, &limits);
        prop_assert_eq!(refusal(found, &limits), None, "{} of {:?}", found, limits);
        if refusal(wished, &limits).is_none() {
            prop_assert_eq!(found, wished);
        }
    }

    #[test]
    fn the_size_for_a_ratio_can_be_made(
        width in 1..100_u32,
        height in 1..100_u32,
        default in prop::option::of(any_size()),
        limits in limits(),
    ) {
        // Without a multiple of its own, a model's ratios are drawn in multiples of 8, which its limits may not allow.
        let limits = Limits { size_multiple: limits.size_multiple.or(Some(nonzero(1))), ..limits };
        let found = for_ratio(ratio(width, height), &limits, default);
        prop_assert_eq!(refusal(found, &limits), None, "{} of {:?}", found, limits);
    }
}
