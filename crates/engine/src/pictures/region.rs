//! The part of a picture that is repainted in full resolution: `get_crop_region` of diffusers.

use super::Pixels;

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Its first column.
    pub left: u32,
    /// Its first row.
    pub top: u32,
    /// The column after its last.
    pub right: u32,
    /// The row after its last.
    pub bottom: u32,
}

impl Region {
    /// Its width in pixels.
    pub fn width(self) -> u32 {
        self.right.saturating_sub(self.left)
    }

    /// Its height in pixels.
    pub fn height(self) -> u32 {
        self.bottom.saturating_sub(self.top)
    }

    /// All of `mask` that is not black and `padding` pixels around, widened to the proportions of the size that is
    /// computed as far as the mask reaches. `None` where all is black.
    pub fn around(mask: &Pixels, (width, height): (u32, u32), padding: u32) -> Option<Self> {
        let stride = mask.width.max(1) as usize;
        let bright: Vec<u8> = mask.brightness().collect();
        let rows = || bright.chunks_exact(stride);
        let is_row = |row: &[u8]| row.iter().any(|pixel| *pixel != 0);
        let is_column = |x: &u32| rows().any(|row| row.get(*x as usize).is_some_and(|pixel| *pixel != 0));
        let (top, bottom) = (rows().position(is_row)?, rows().rposition(is_row)?);
        let (left, right) = ((0..mask.width).find(is_column)?, (0..mask.width).rfind(is_column)?);
        let before = |first: u32| i64::from(first.saturating_sub(padding));
        let after = |last: u32, end: u32| (i64::from(last) + 1 + i64::from(padding)).min(i64::from(end));
        let row = |y: usize| u32::try_from(y).unwrap_or(u32::MAX);
        let mut across = (before(left), after(right, mask.width));
        let mut down = (before(row(top)), after(row(bottom), mask.height));
        #[expect(clippy::cast_precision_loss, reason = "sides of pictures")]
        let length = |(from, to): (i64, i64)| (to - from) as f64;
        let (own, wanted) = (length(across) / length(down), f64::from(width) / f64::from(height));
        if own > wanted {
            down = widened(down, length(across) / wanted, mask.height);
        } else {
            across = widened(across, length(down) * wanted, mask.width);
        }
        let side = |at: i64| u32::try_from(at).ok();
        Some(Self { left: side(across.0)?, top: side(down.0)?, right: side(across.1)?, bottom: side(down.1)? })
    }
}

/// A span made as long as wanted, to both sides, then moved and at last cut to lie within `end`.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sides of pictures, rounded down")]
fn widened((mut from, mut to): (i64, i64), wanted: f64, end: u32) -> (i64, i64) {
    let end = i64::from(end);
    let more = (wanted - (to - from) as f64) as i64;
    from -= more / 2;
    to += more - more / 2;
    if to >= end {
        from -= to - end;
        to = end;
    }
    if from < 0 {
        to -= from;
        from = 0;
    }
    (from, to.min(end))
}

#[cfg(test)]
mod tests {
    use super::Region;
    use crate::pictures::Pixels;

    /// `get_crop_region` of diffusers: size of the mask, what is white in it, size that is computed, padding, region.
    type Case = ((u32, u32), (u32, u32, u32, u32), (u32, u32), u32, (u32, u32, u32, u32));

    #[test]
    fn the_region_is_that_of_diffusers() {
        let cases: [Case; 6] = [
            ((44, 46), (2, 16, 35, 32), (80, 128), 3, (0, 0, 38, 46)),
            ((28, 56), (2, 16, 6, 48), (128, 104), 0, (0, 16, 28, 48)),
            ((23, 25), (2, 11, 8, 23), (72, 56), 9, (0, 2, 23, 25)),
            ((35, 57), (17, 8, 29, 47), (152, 24), 9, (0, 0, 35, 56)),
            ((35, 39), (3, 25, 19, 28), (24, 8), 3, (0, 22, 27, 31)),
            ((59, 36), (47, 11, 58, 28), (120, 64), 9, (0, 2, 59, 36)),
        ];
        for ((width, height), (x1, y1, x2, y2), size, padding, (left, top, right, bottom)) in cases {
            let is_white = |x, y| (x1..x2).contains(&x) && (y1..y2).contains(&y);
            let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [u8::from(is_white(x, y)); 3]));
            let mask = Pixels { width, height, rgb: rgb.collect() };
            assert_eq!(Region::around(&mask, size, padding), Some(Region { left, top, right, bottom }));
        }
    }

    #[test]
    fn there_is_no_region_around_nothing() {
        assert_eq!(Region::around(&Pixels { width: 2, height: 2, rgb: vec![0; 12] }, (8, 8), 1), None);
    }
}
