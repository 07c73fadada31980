//! Resizing as Pillow does it (`Resample.c`), to the last bit: diffusers resizes with it, and a picture that is one step of
//! 255 brighter in a pixel leads to other latents than the parity tests allow.

use std::f64::consts::PI;

use super::Pixels;

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

    /// `width` pixels of what lies between two columns, `height` of what lies between two rows: one after the other, with bytes
    /// between the two.
    fn resampled(
        &self,
        (width, columns): (u32, (u32, u32)),
        (height, rows): (u32, (u32, u32)),
        filter: Filter,
    ) -> Self {
        // Pillow 13 goes down first where that saves most; found by trying, and so for whole pictures.
        let less = |from: u32, to: u32| i64::from(from) - i64::from(to);
        if height < self.height && less(self.height, height) > 2 * less(self.width, width) {
            self.resampled_down(height, rows, filter).resampled_across(width, columns, filter)
        } else {
            self.resampled_across(width, columns, filter).resampled_down(height, rows, filter)
        }
    }

    fn resampled_across(&self, width: u32, columns: (u32, u32), filter: Filter) -> Self {
        if width == self.width && columns == (0, self.width) {
            return self.clone();
        }
        let shares = shares(self.width, columns, width, filter);
        let rgb = self.rgb.chunks_exact((3 * self.width as usize).max(1)).flat_map(|row| {
            let from = |share: &Share| row.get(3 * share.first..).unwrap_or_default();
            shares.iter().flat_map(move |share| share.sum(from(share).as_chunks().0.iter()))
        });
        Self { width, height: self.height, rgb: rgb.collect() }
    }

    fn resampled_down(&self, height: u32, rows: (u32, u32), filter: Filter) -> Self {
        if height == self.height && rows == (0, self.height) {
            return self.clone();
        }
        let shares = shares(self.height, rows, height, filter);
        let stride = 3 * self.width as usize;
        let rgb = shares.iter().flat_map(|share| {
            let above = self.rgb.get(share.first * stride..).unwrap_or_default();
            (0..stride / 3).flat_map(move |x| {
                share.sum(above.chunks_exact(stride).map_while(move |row| row.get(3 * x..)?.first_chunk()))
            })
        });
        Self { width: self.width, height, rgb: rgb.collect() }
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
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "as in C, on small numbers"
)]
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

#[cfg(test)]
mod tests {
    use crate::pictures::Pixels;

    /// A picture of 5x4 pixels.
    #[rustfmt::skip]
    const SOURCE: [u8; 60] = [
        130, 183, 14, 238, 127, 26, 80, 57, 190, 240, 126, 194, 52, 127, 6, 110, 208, 143, 93, 199, 81, 36, 71, 227,
        64, 67, 0, 2, 107, 110, 84, 85, 148, 160, 101, 104, 93, 100, 196, 152, 11, 184, 212, 84, 74, 135, 33, 169,
        154, 1, 173, 33, 158, 181, 156, 246, 161, 94, 246, 241,
    ];

    // What Pillow 13 makes of it through diffusers' image processor.
    #[rustfmt::skip]
    const DEFAULT_3_7: [u8; 63] = [
        179, 150, 0, 181, 80, 176, 145, 132, 98, 150, 183, 42, 129, 87, 158, 85, 120, 79, 107, 212, 117, 61, 94, 138,
        25, 91, 62, 97, 175, 134, 77, 78, 155, 101, 31, 76, 120, 87, 126, 122, 81, 180, 189, 61, 132, 137, 24, 157,
        104, 121, 176, 152, 192, 188, 144, 0, 179, 83, 149, 168, 106, 255, 214,
    ];
    #[rustfmt::skip]
    const FILL_4_9: [u8; 108] = [
        163, 206, 16, 139, 103, 102, 143, 95, 182, 59, 142, 40, 163, 206, 16, 139, 103, 102, 143, 95, 182, 59, 142,
        40, 163, 206, 16, 139, 103, 102, 143, 95, 182, 59, 142, 40, 156, 201, 28, 134, 107, 107, 136, 88, 178, 65,
        134, 44, 103, 158, 127, 96, 138, 149, 78, 33, 145, 113, 68, 73, 141, 19, 160, 112, 61, 166, 113, 182, 187,
        160, 201, 194, 146, 2, 164, 114, 51, 168, 117, 201, 192, 166, 218, 209, 146, 2, 164, 114, 51, 168, 117, 201,
        192, 166, 218, 209, 146, 2, 164, 114, 51, 168, 117, 201, 192, 166, 218, 209,
    ];
    #[rustfmt::skip]
    const FILL_9_4: [u8; 108] = [
        117, 190, 13, 117, 190, 13, 130, 183, 14, 238, 127, 26, 80, 57, 190, 240, 126, 194, 52, 127, 6, 29, 127, 0,
        29, 127, 0, 112, 209, 151, 112, 209, 151, 110, 208, 143, 93, 199, 81, 36, 71, 227, 64, 67, 0, 2, 107, 110, 0,
        112, 124, 0, 112, 124, 75, 83, 154, 75, 83, 154, 84, 85, 148, 160, 101, 104, 93, 100, 196, 152, 11, 184, 212,
        84, 74, 220, 93, 60, 220, 93, 60, 133, 37, 169, 133, 37, 169, 135, 33, 169, 154, 1, 173, 33, 158, 181, 156,
        246, 161, 94, 246, 241, 86, 246, 251, 86, 246, 251,
    ];
    #[rustfmt::skip]
    const CROP_2_6: [u8; 36] = [
        214, 88, 62, 86, 57, 186, 134, 131, 96, 53, 62, 209, 71, 170, 130, 41, 74, 228, 138, 129, 118, 90, 91, 203,
        142, 59, 150, 67, 135, 184, 111, 24, 183, 26, 163, 181,
    ];

    /// A size to which Pillow 13 goes down first.
    const DEFAULT_4_1: [u8; 12] = [132, 128, 106, 113, 104, 141, 108, 97, 169, 113, 131, 102];

    #[test]
    fn every_way_to_a_size_is_pillows_to_the_last_bit() {
        let source = Pixels { width: 5, height: 4, rgb: SOURCE.to_vec() };
        assert_eq!(source.resized(3, 7).rgb, DEFAULT_3_7);
        assert_eq!(source.resized(4, 1).rgb, DEFAULT_4_1);
        assert_eq!(source.fitted(4, 9).rgb, FILL_4_9);
        assert_eq!(source.fitted(9, 4).rgb, FILL_9_4);
        assert_eq!(source.covering(2, 6).rgb, CROP_2_6);
        assert_eq!(source.resized(5, 4), source);
    }
}
