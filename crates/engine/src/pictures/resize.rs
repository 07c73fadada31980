//! Resizing as Pillow does it (`Resample.c`), to the last bit: diffusers resizes with it, and a picture that is one step of
//! 255 brighter in a pixel leads to other latents than the parity tests allow.

use std::f64::consts::PI;

use super::{Pixels, Region};

/// Binary places of the shares in which pixels are summed.
const PLACES: u32 = 32 - 8 - 2;

/// Which pixels around a place count, and how much.
#[derive(Debug, Clone, Copy)]
enum Filter {
    /// Lanczos over three pixels on each side.
    Lanczos,
    /// Cubic (a = -0.5) over two.
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        match self {
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
            Self::Bicubic => {
                let x = x.abs();
                if x < 1.0 {
                    (1.5 * x - 2.5) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
                } else {
                    0.0
                }
            }
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

impl Pixels {
    /// In this size, by Lanczos, whatever that does to its proportions (`resize_mode` `default` of diffusers).
    #[must_use]
    pub fn resized(&self, width: u32, height: u32) -> Self {
        let whole = (0, self.width);
        let rows = (0, self.height);
        self.resampled((width, whole), (height, rows), Filter::Lanczos)
    }

    /// In this size with its proportions kept; what stays free at two sides repeats the picture's edge (`resize_mode`
    /// `fill` of diffusers).
    #[must_use]
    pub fn fitted(&self, width: u32, height: u32) -> Self {
        let (ratio, own) = (ratio(width, height), ratio(self.width, self.height));
        let inner = self.resized(
            if ratio < own { width } else { scaled(self.width, height, self.height) },
            if ratio >= own { height } else { scaled(self.height, width, self.width) },
        );
        let left = (width / 2).saturating_sub(inner.width / 2);
        let top = (height / 2).saturating_sub(inner.height / 2);
        let mut out = Self::black(width, height);
        out.paste(&inner, i64::from(left), i64::from(top));
        let (across, down) = ((0, inner.width), (0, inner.height));
        if ratio < own && top > 0 {
            for (edge, at) in [(0, 0), (inner.height, top + inner.height)] {
                let strip = inner.resampled((width, across), (top, (edge, edge)), Filter::Bicubic);
                out.paste(&strip, 0, i64::from(at));
            }
        } else if ratio > own && left > 0 {
            for (edge, at) in [(0, 0), (inner.width, left + inner.width)] {
                let strip = inner.resampled((left, (edge, edge)), (height, down), Filter::Bicubic);
                out.paste(&strip, i64::from(at), 0);
            }
        }
        out
    }

    /// In this size with its proportions kept; what lies beyond is cut off (`resize_mode` `crop` of diffusers).
    #[must_use]
    pub fn covering(&self, width: u32, height: u32) -> Self {
        let (ratio, own) = (ratio(width, height), ratio(self.width, self.height));
        let inner = self.resized(
            if ratio > own { width } else { scaled(self.width, height, self.height) },
            if ratio <= own { height } else { scaled(self.height, width, self.width) },
        );
        let half = |outer: u32, inner: u32| i64::from(outer / 2) - i64::from(inner / 2);
        let mut out = Self::black(width, height);
        out.paste(&inner, half(width, inner.width), half(height, inner.height));
        out
    }

    /// `width` pixels of what lies between two columns, `height` of what lies between two rows. Across first, then down, with
    /// bytes between the two.
    fn resampled(
        &self,
        (width, columns): (u32, (u32, u32)),
        (height, rows): (u32, (u32, u32)),
        filter: Filter,
    ) -> Self {
        let mut picture = self.clone();
        if width != self.width || columns != (0, self.width) {
            let shares = shares(self.width, columns, width, filter);
            let rgb = self.rgb.chunks_exact((3 * self.width as usize).max(1)).flat_map(|row| {
                shares
                    .iter()
                    .flat_map(|share| share.sum(row.get(3 * share.first..).unwrap_or_default().as_chunks().0.iter()))
            });
            picture = Self { width, height: self.height, rgb: rgb.collect() };
        }
        if height != self.height || rows != (0, self.height) {
            let shares = shares(self.height, rows, height, filter);
            let stride = 3 * picture.width as usize;
            let rgb = shares.iter().flat_map(|share| {
                let above = picture.rgb.get(share.first * stride..).unwrap_or_default();
                (0..stride / 3).flat_map(move |x| {
                    share.sum(above.chunks_exact(stride).map_while(move |row| row.get(3 * x..)?.first_chunk()))
                })
            });
            picture = Self { width: picture.width, height, rgb: rgb.collect() };
        }
        picture
    }
}

/// Which pixels make a pixel: from `first`, each with its share, in [`PLACES`] binary places.
struct Share {
    first: usize,
    parts: Vec<i32>,
}

impl Share {
    /// The sum of as many pixels as there are parts.
    fn sum<'a>(&self, pixels: impl Iterator<Item = &'a [u8; 3]>) -> [u8; 3] {
        let mut sums = [1_i32 << (PLACES - 1); 3];
        for (part, pixel) in self.parts.iter().zip(pixels) {
            for (sum, byte) in sums.iter_mut().zip(pixel) {
                *sum += part * i32::from(*byte);
            }
        }
        sums.map(|sum| u8::try_from((sum >> PLACES).clamp(0, 255)).unwrap_or_default())
    }
}

/// How each of `count` pixels is made of the `size` that lie from `begin` to `end`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as in C, on small numbers")]
fn shares(size: u32, (begin, end): (u32, u32), count: u32, filter: Filter) -> Vec<Share> {
    let scale = f64::from(end - begin) / f64::from(count);
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let one = |i: u32| {
        let centre = f64::from(begin) + (f64::from(i) + 0.5) * scale;
        let first = ((centre - support + 0.5) as i64).max(0);
        let last = ((centre + support + 0.5) as i64).min(i64::from(size));
        let weights: Vec<f64> = (first..last)
            .map(|x| filter.at(((x - first) as f64 + first as f64 - centre + 0.5) * (1.0 / stretch)))
            .collect();
        let sum: f64 = weights.iter().sum();
        let whole = f64::from(1 << PLACES);
        let part = |weight: f64| {
            let share = if sum == 0.0 { weight } else { weight / sum };
            (share * whole + if share < 0.0 { -0.5 } else { 0.5 }) as i32
        };
        Share { first: first as usize, parts: weights.into_iter().map(part).collect() }
    };
    (0..count).map(one).collect()
}

fn ratio(width: u32, height: u32) -> f64 {
    f64::from(width) / f64::from(height)
}

/// A side in another picture's proportions, rounded down.
fn scaled(side: u32, to: u32, from: u32) -> u32 {
    u32::try_from(u64::from(side) * u64::from(to) / u64::from(from.max(1))).unwrap_or(u32::MAX).max(1)
}

impl Region {
    /// The whole of a picture.
    #[cfg(test)]
    pub(super) fn whole(picture: &Pixels) -> Self {
        Self { left: 0, top: 0, right: picture.width, bottom: picture.height }
    }
}
