//! Which sizes a model can draw.

use crate::{Error, Result};

/// The longest side in pixels. Nothing draws sensibly beyond, and the first convolution would take all memory.
const LONGEST: u32 = 8192;

/// Height and width in latents of a picture of this size, `factor` pixels to a latent.
pub fn latent_size(width: u32, height: u32, factor: u32) -> Result<(i64, i64)> {
    Ok((side("height", height, factor)?, side("width", width, factor)?))
}

fn side(name: &str, pixels: u32, factor: u32) -> Result<i64> {
    if pixels > LONGEST {
        return Err(Error::invalid(format!("{name} {pixels} is more than {LONGEST}")));
    }
    if pixels == 0 || !pixels.is_multiple_of(factor) {
        let below = pixels / factor * factor;
        let nearest = match below {
            0 => format!("the nearest is {factor}"),
            _ => format!("the nearest are {below} and {}", below + factor),
        };
        return Err(Error::invalid(format!("{name} {pixels} is not a multiple of {factor}; {nearest}")));
    }
    Ok(i64::from(pixels / factor))
}

#[cfg(test)]
mod tests {
    use super::latent_size;

    #[test]
    fn sizes_come_out_height_first() {
        assert_eq!(latent_size(64, 128, 8).unwrap(), (16, 8));
    }

    #[test]
    fn the_nearest_sizes_are_named() {
        let refused = |width| latent_size(width, 64, 8).unwrap_err().to_string();
        assert_eq!(refused(100), "width 100 is not a multiple of 8; the nearest are 96 and 104");
        assert_eq!(refused(3), "width 3 is not a multiple of 8; the nearest is 8");
        assert_eq!(refused(0), "width 0 is not a multiple of 8; the nearest is 8");
        assert_eq!(refused(80_000), "width 80000 is more than 8192");
    }
}
