//! What was repainted, laid into the picture that it is a part of: `apply_overlay` of diffusers, with Pillow's roundings.

use super::{Pixels, Region};

/// `original` with what was made of its `region` in place of what `mask` shows; where the mask is grey, something of both.
/// Mask and original are of one size.
pub fn lay_over(original: &Pixels, mask: &Pixels, made: &Pixels, region: Region) -> Pixels {
    let mut below = Pixels::black(original.width, original.height);
    let fitting = made.covering(region.width(), region.height());
    below.paste(&fitting, i64::from(region.left), i64::from(region.top));
    let pixels = below.rgb.as_chunks_mut::<3>().0.iter_mut().zip(original.rgb.as_chunks::<3>().0);
    for ((below, original), bright) in pixels.zip(mask.brightness()) {
        let opacity = u32::from(255 - bright);
        for (below, original) in below.iter_mut().zip(original) {
            *below = over(*below, *original, opacity);
        }
    }
    below
}

/// `top` at this opacity (0 to 255) over a `bottom` that is opaque. Pillow multiplies the colour by the opacity, divides it by
/// it again and only then lays it over, and rounds each time.
fn over(bottom: u8, top: u8, opacity: u32) -> u8 {
    if opacity == 0 {
        return bottom;
    }
    let faded = by_255(u32::from(top) * opacity + 128);
    let top = if opacity == 255 { faded } else { (255 * faded / opacity).min(255) };
    // Seven more binary places.
    let sum = top * (opacity << 7) + u32::from(bottom) * ((255 - opacity) << 7);
    u8::try_from(by_255(sum + (0x80 << 7)) >> 7).unwrap_or(u8::MAX)
}

/// Divided by 255, as Pillow does without dividing.
fn by_255(number: u32) -> u32 {
    ((number >> 8) + number) >> 8
}

#[cfg(test)]
mod tests {
    use super::{lay_over, over};
    use crate::pictures::{Pixels, Region};

    #[test]
    fn black_stays_white_is_replaced_grey_is_between() {
        let of = |values: [u8; 3]| Pixels { width: 3, height: 1, rgb: values.iter().flat_map(|v| [*v; 3]).collect() };
        let original = of([10, 20, 30]);
        let made = of([200, 210, 220]);
        let whole = Region { left: 0, top: 0, right: 3, bottom: 1 };
        let laid = lay_over(&original, &of([0, 255, 128]), &made, whole);
        assert_eq!(laid, of([10, 210, 125]));
    }

    /// Dividing by the opacity after rounding costs a step of brightness here and there.
    #[test]
    fn roundings_are_no_more_than_a_step_and_a_half() {
        for opacity in 0..=255_u32 {
            for (bottom, top) in [(0, 255), (255, 0), (7, 7), (200, 100), (1, 3)] {
                let exact = f64::from(bottom) + (f64::from(top) - f64::from(bottom)) * f64::from(opacity) / 255.0;
                let laid = f64::from(over(bottom, top, opacity));
                assert!((laid - exact).abs() <= 1.5, "{top} over {bottom} at {opacity}: {laid}, not {exact}");
            }
        }
    }
}
