//! What a job may ask for. Checked at the door, before anything is opened or allocated.

use std::fmt::Display;
use std::ops::RangeInclusive;

use easel_engine_protocol::GenerateJob;

use crate::pictures::MAX_BASE64;
use crate::{Error, Result};

/// The longest prompt; tokenizers cut long before that.
pub const MAX_PROMPT_BYTES: usize = 64 << 10;

const STEPS: RangeInclusive<u32> = 1..=1000;
const SIDE: RangeInclusive<u32> = 8..=4096;
/// Every VAE that is driven halves the picture three times or so; what a model needs beyond 8, its pipeline checks.
const SIDE_MULTIPLE: u32 = 8;
const GUIDANCE: RangeInclusive<f64> = 0.0..=100.0;
const IMAGES: RangeInclusive<usize> = 1..=64;
/// Finished pictures wait in memory for a client that reads slowly, so their sum has a bound too: 64 pictures of 1024x1024.
const PIXELS: u64 = 64 << 20;

/// Refuses what cannot be, naming the field.
pub(super) fn check(job: &GenerateJob) -> Result<()> {
    within("steps", job.steps, &STEPS)?;
    side("width", job.width)?;
    side("height", job.height)?;
    if !GUIDANCE.contains(&job.guidance_scale) {
        return Err(out_of_range("guidance_scale", job.guidance_scale, GUIDANCE.start(), GUIDANCE.end()));
    }
    if !IMAGES.contains(&job.seeds.len()) {
        let count = job.seeds.len();
        return Err(Error::invalid(format!(
            "seeds has {count} entries, between {} and {} are possible",
            IMAGES.start(),
            IMAGES.end()
        )));
    }
    let pixels = u64::from(job.width) * u64::from(job.height) * job.seeds.len() as u64;
    if pixels > PIXELS {
        let reason =
            format!("seeds, width and height ask for {pixels} pixels, at most {PIXELS} are possible in one job");
        return Err(Error::invalid(reason).with_hint("ask for fewer or smaller pictures at once"));
    }
    for (field, input) in [("image", &job.image), ("mask", &job.mask)] {
        let bytes = input.as_ref().map_or(0, |input| input.0.len());
        if bytes > MAX_BASE64 {
            return Err(Error::invalid(format!(
                "{field} has {bytes} bytes of base64, at most {MAX_BASE64} are possible"
            ))
            .with_hint("send a smaller picture"));
        }
    }
    prompt("prompt", &job.prompt)?;
    prompt("negative_prompt", job.negative_prompt.as_deref().unwrap_or_default())
}

fn within<T: PartialOrd + Display>(field: &str, value: T, range: &RangeInclusive<T>) -> Result<()> {
    if range.contains(&value) { Ok(()) } else { Err(out_of_range(field, value, range.start(), range.end())) }
}

fn out_of_range<T: Display>(field: &str, value: T, low: &T, high: &T) -> Error {
    Error::invalid(format!("{field} is {value}, between {low} and {high} is possible"))
}

fn side(field: &str, value: u32) -> Result<()> {
    within(field, value, &SIDE)?;
    if value.is_multiple_of(SIDE_MULTIPLE) {
        return Ok(());
    }
    let down = value - value % SIDE_MULTIPLE;
    let nearest = if value - down < SIDE_MULTIPLE / 2 { down } else { down + SIDE_MULTIPLE };
    Err(Error::invalid(format!("{field} is {value}, which is not a multiple of {SIDE_MULTIPLE}"))
        .with_hint(format!("the nearest is {nearest}")))
}

fn prompt(field: &str, text: &str) -> Result<()> {
    if text.len() <= MAX_PROMPT_BYTES {
        return Ok(());
    }
    Err(Error::invalid(format!("{field} has {} bytes, at most {MAX_PROMPT_BYTES} are possible", text.len())))
}
