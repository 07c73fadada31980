//! The natural logarithm as numpy computes it for arrays of `f32`, to the bit.
//!
//! The respaced schedules (Karras, exponential, beta) find their timesteps by looking up sigmas in a table of
//! logarithms, and one unit in the last place of an entry moves a timestep by up to 6e-5: enough to move the latents
//! of a large step, under guidance, further than the parity tests allow. numpy's kernels for AVX2 and AVX-512 agree
//! with each other but round nearly one entry in five otherwise than to the nearest number, so they are followed.

use std::f32::consts::{FRAC_1_SQRT_2, LN_2};

/// Numerator and denominator of the minimax approximation of `ln(1 + y)`, lowest power first, as numpy documents it
/// beside its vector kernels (`npy_simd_data.h`; at most 3.83 units in the last place).
#[expect(clippy::excessive_precision, reason = "the digits that numpy gives")]
const NUMERATOR: [f32; 6] = [
    0.0,
    9.999_999_999_999_998_7e-1,
    2.112_677_543_073_053,
    1.480_000_633_576_506_6,
    3.808_837_741_388_407_9e-1,
    2.589_979_117_907_922_7e-2,
];
#[expect(clippy::excessive_precision, reason = "the digits that numpy gives")]
const DENOMINATOR: [f32; 6] = [
    1.0,
    2.612_677_543_073_109_2,
    2.453_006_071_784_736_4,
    9.864_942_958_519_419e-1,
    1.546_476_374_983_906_7e-1,
    5.875_095_403_124_574_3e-3,
];

/// `ln(x)` of a positive, normal number.
pub fn log(x: f32) -> f32 {
    const MANTISSA: u32 = 0x007f_ffff;
    // x = y · 2^k with y from ½ up to 1, and from there into √½ … √2.
    let mut y = f32::from_bits(x.to_bits() & MANTISSA | 0x3f00_0000);
    #[expect(clippy::cast_precision_loss, reason = "an exponent of f32 has eight bits")]
    let mut k = (x.to_bits() >> 23) as f32 - 126.0;
    if y < FRAC_1_SQRT_2 {
        y += y;
        k -= 1.0;
    }
    y -= 1.0;
    k.mul_add(LN_2, horner(&NUMERATOR, y) / horner(&DENOMINATOR, y))
}

fn horner(coefficients: &[f32], y: f32) -> f32 {
    coefficients.iter().rev().copied().reduce(|sum, next| sum.mul_add(y, next)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::log;

    #[test]
    fn is_a_logarithm() {
        for x in [1e-6_f32, 0.029, 0.5, 0.707, 0.708, 1.0, 1.5, 14.6146, 4096.0, 1e30] {
            let exact = f64::from(x).ln();
            assert!((f64::from(log(x)) - exact).abs() <= 4e-7 * exact.abs().max(1e-3), "{x}: {} for {exact}", log(x));
        }
    }

    #[test]
    fn rounds_as_numpy() {
        // Entries of the table of SDXL that numpy does not round to the nearest number, and one that it does.
        for (x, theirs) in NUMPY {
            assert_eq!(log(f32::from_bits(x)).to_bits(), theirs, "{}", f32::from_bits(x));
        }
    }

    const NUMPY: [(u32, u32); 4] = [
        (0x3e3d_7c8a, 0xbfd7_f4aa),
        (0x3f8c_056a, 0x3db7_d5c5),
        (0x411f_8d7d, 0x4013_2fb0),
        (0x4169_d598, 0x402b_a649),
    ];
}
