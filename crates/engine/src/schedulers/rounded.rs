//! Roots, exponentials and logarithms as diffusers has them from libtorch, to the bit.
//!
//! Its kernels (MKL's) do not always give the nearest number: one root in 150 and one exponential in a hundred is the next
//! one, and which, depends on the processor. A random VAE makes of that one place in the latents up to fifty in a picture.

/// `√x`.
pub fn sqrt(x: f32) -> f32 {
    one(x, f32::sqrt, torch_shim::rounded::sqrt)
}

/// `√x` of each.
pub fn sqrt_of(mut numbers: Vec<f32>) -> Vec<f32> {
    if torch_shim::rounded::sqrt(&mut numbers).is_err() {
        for x in &mut numbers {
            *x = x.sqrt();
        }
    }
    numbers
}

/// `eˣ`.
pub fn exp(x: f32) -> f32 {
    one(x, f32::exp, torch_shim::rounded::exp)
}

/// `eˣ − 1`.
pub fn exp_m1(x: f32) -> f32 {
    one(x, f32::exp_m1, torch_shim::rounded::exp_m1)
}

/// The natural logarithm.
pub fn log(x: f32) -> f32 {
    one(x, f32::ln, torch_shim::rounded::log)
}

/// Libtorch fails at this only where it has no memory; what it would say is then near enough.
fn one(x: f32, near: fn(f32) -> f32, exact: fn(&mut [f32]) -> torch_shim::Result<()>) -> f32 {
    let mut numbers = [x];
    match exact(&mut numbers) {
        Ok(()) => numbers[0],
        Err(_) => near(x),
    }
}
