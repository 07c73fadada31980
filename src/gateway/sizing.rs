//! Sizes that a model can make: whether it can make one, and which of them is nearest. Pure.

use std::num::NonZeroU32;

use crate::generation::{AspectRatio, ImageSize, Limits};

/// What a ratio is drawn at where the model names no size of its own: about a million pixels.
const USUAL_PIXELS: f64 = 1024.0 * 1024.0;

/// Sides that a ratio is rounded to where the model asks for nothing: what diffusion models have in common.
const USUAL_MULTIPLE: u32 = 8;

/// Whether the model makes pictures of exactly this size; if not, why, for people.
pub(super) fn refusal(size: ImageSize, limits: &Limits) -> Option<String> {
    let (width, height) = (size.width.get(), size.height.get());
    let (shorter, longer) = (width.min(height), width.max(height));
    if !limits.sizes.is_empty() {
        let known = limits.sizes.contains(&size);
        let names: Vec<_> = limits.sizes.iter().map(ToString::to_string).collect();
        return (!known).then(|| format!("it makes {}", names.join(", ")));
    }
    if let Some(multiple) = limits.size_multiple.filter(|multiple| width % *multiple != 0 || height % *multiple != 0) {
        return Some(format!("its sides are multiples of {multiple}"));
    }
    if let Some(least) = limits.min_side.filter(|least| shorter < *least) {
        return Some(format!("its shortest side is {least}"));
    }
    if let Some(most) = limits.max_side.filter(|most| longer > *most) {
        return Some(format!("its longest side is {most}"));
    }
    if let Some(most) = limits.max_ratio.filter(|most| u64::from(longer) > u64::from(shorter) * u64::from(most.get())) {
        return Some(format!("its longer side is at most {most} times the shorter one"));
    }
    if let Some(least) = limits.min_pixels.filter(|least| size.pixels() < *least) {
        return Some(format!("it makes at least {least} pixels"));
    }
    let most = limits.max_pixels.filter(|most| size.pixels() > *most)?;
    Some(format!("it makes at most {most} pixels"))
}

/// The size nearest to `size` that the model makes.
pub(super) fn nearest(size: ImageSize, limits: &Limits) -> ImageSize {
    let distance = |other: &ImageSize| {
        let sides = [(size.width, other.width), (size.height, other.height)];
        sides.iter().map(|(one, two)| u64::from(one.get().abs_diff(two.get()))).sum::<u64>()
    };
    if let Some(listed) = limits.sizes.iter().min_by_key(|other| distance(other)) {
        return *listed;
    }
    let multiple = limits.size_multiple.map_or(1, NonZeroU32::get);
    let longest = limits.max_side.map_or(f64::INFINITY, f64::from);
    let (width, height) = (f64::from(size.width.get()).min(longest), f64::from(size.height.get()).min(longest));
    // What is too slim is widened, and what is too small grows as a whole.
    let slimmest = limits.max_ratio.map_or(0.0, |most| width.max(height) / f64::from(most.get()));
    let (width, height) = (width.max(slimmest), height.max(slimmest));
    let grow = (limits.min_pixels.map_or(0.0, as_f64) / (width * height)).sqrt().max(1.0);
    or_square(within(width * grow, height * grow, multiple, limits), multiple, limits)
}

/// The model's size that is nearest to `ratio`; among equals the one closest in pixels to its `default` size.
pub(super) fn for_ratio(ratio: AspectRatio, limits: &Limits, default: Option<ImageSize>) -> ImageSize {
    let slimmest = limits.max_ratio.map_or(f64::INFINITY, |most| f64::from(most.get()));
    let wished = (f64::from(ratio.width.get()) / f64::from(ratio.height.get())).clamp(1.0 / slimmest, slimmest);
    let pixels = default.map_or(USUAL_PIXELS, |size| f64::from(size.width.get()) * f64::from(size.height.get()));
    let distance = |size: &ImageSize| {
        let (width, height) = (f64::from(size.width.get()), f64::from(size.height.get()));
        ((width / height / wished).ln().abs(), (width * height / pixels).ln().abs())
    };
    let listed = limits.sizes.iter().min_by(|one, two| {
        let ((shape_one, area_one), (shape_two, area_two)) = (distance(one), distance(two));
        shape_one.total_cmp(&shape_two).then(area_one.total_cmp(&area_two))
    });
    if let Some(listed) = listed {
        return *listed;
    }
    let multiple = limits.size_multiple.map_or(USUAL_MULTIPLE, NonZeroU32::get);
    let (width, height) = ((pixels * wished).sqrt(), (pixels / wished).sqrt());
    // Shrinking both sides keeps the ratio; cutting only the longer one would not.
    let longest = limits.max_side.map_or(f64::INFINITY, f64::from);
    let most = limits.max_pixels.map_or(f64::INFINITY, as_f64);
    let shrink = (longest / width.max(height)).min((most / (width * height)).sqrt()).min(1.0);
    let (width, height) = (width * shrink, height * shrink);
    let too_short = limits.min_side.map_or(0.0, f64::from) / width.min(height);
    let too_few = (limits.min_pixels.map_or(0.0, as_f64) / (width * height)).sqrt();
    let grow = too_short.max(too_few).max(1.0);
    or_square(within(width * grow, height * grow, multiple, limits), multiple, limits)
}

/// The size if the model makes it. Limits that leave little room may be missed by rounding; the smallest square is
/// within all of them, or nothing is.
fn or_square(found: ImageSize, multiple: u32, limits: &Limits) -> ImageSize {
    if refusal(found, limits).is_none() {
        return found;
    }
    let fewest = limits.min_pixels.unwrap_or(0);
    let root = fewest.isqrt() + u64::from(fewest.isqrt().pow(2) < fewest);
    let least = u32::try_from(root).unwrap_or(u32::MAX).max(limits.min_side.unwrap_or(1)).max(1);
    let multiple = multiple.max(1);
    let side = NonZeroU32::new(least.div_ceil(multiple).saturating_mul(multiple)).unwrap_or(NonZeroU32::MIN);
    ImageSize { width: side, height: side }
}

/// The sides rounded to multiples and put between the limits.
fn within(width: f64, height: f64, multiple: u32, limits: &Limits) -> ImageSize {
    let multiple = multiple.max(1);
    let least = limits.min_side.unwrap_or(1).div_ceil(multiple).max(1) * multiple;
    let most = (limits.max_side.unwrap_or(1 << 16) / multiple * multiple).max(least);
    let side = |length: f64| {
        let rounded = (length / f64::from(multiple)).round() * f64::from(multiple);
        as_u32(rounded).clamp(least, most)
    };
    let (mut width, mut height) = (side(width), side(height));
    if let Some(pixels) = limits.max_pixels {
        // Rounding may have gone over: the longer side gives way, and where it cannot give enough, the other one.
        let (longer, shorter) = if width >= height { (&mut width, &mut height) } else { (&mut height, &mut width) };
        let fitting = |other: u32| {
            let length = u32::try_from(pixels / u64::from(other)).unwrap_or(u32::MAX);
            (length / multiple * multiple).clamp(least, most)
        };
        *longer = fitting(*shorter).min(*longer);
        *shorter = fitting(*longer).min(*shorter);
    }
    let (longer, shorter) = if width >= height { (&mut width, &mut height) } else { (&mut height, &mut width) };
    if let Some(ratio) = limits.max_ratio {
        // Or slimmer than allowed: the shorter side grows to what the longer one needs.
        *shorter = longer.div_ceil(ratio.get()).next_multiple_of(multiple).clamp(*shorter, most.max(*shorter));
    }
    if let Some(pixels) = limits.min_pixels.filter(|least| u64::from(*longer) * u64::from(*shorter) < *least) {
        let needed = u32::try_from(pixels.div_ceil(u64::from(*longer))).unwrap_or(u32::MAX);
        *shorter = needed.min(most).next_multiple_of(multiple).min(most);
    }
    // Neither is 0: both are at least `multiple`.
    let side = |length| NonZeroU32::new(length).unwrap_or(NonZeroU32::MIN);
    ImageSize { width: side(width), height: side(height) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and the caller clamps")]
fn as_u32(value: f64) -> u32 {
    value as u32
}

#[expect(clippy::cast_precision_loss, reason = "pixel counts are far below 2^53")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
