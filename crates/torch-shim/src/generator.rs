//! Random numbers that nobody else draws from.
#![expect(unsafe_code, reason = "the generator is a C++ object")]

use std::ptr::{self, NonNull};

use tch::Tensor;

use crate::ffi::{self, CGenerator};
use crate::{Error, Result};

/// A source of random numbers on the CPU: the numbers of `torch.Generator("cpu").manual_seed(seed)`, whatever others
/// draw meanwhile.
#[derive(Debug)]
pub struct Generator(NonNull<CGenerator>);

// SAFETY: it is a reference-counted object of which this is the only reference; it is bound to no thread.
unsafe impl Send for Generator {}

impl Generator {
    /// A generator at the beginning of the numbers of `seed`.
    pub fn new(seed: u64) -> Result<Self> {
        let mut out = ptr::null_mut();
        // SAFETY: `out` can be written to.
        unsafe { ffi::read(ffi::easel_shim_generator_new(seed, &raw mut out)) }?;
        NonNull::new(out).map(Self).ok_or_else(|| Error("libtorch made no generator".to_owned()))
    }

    /// The next numbers as unit noise of this shape, single precision, on the CPU:
    /// `torch.randn(shape, generator=generator)`.
    pub fn randn(&mut self, shape: &[i64]) -> Result<Tensor> {
        let mut out = ptr::null_mut();
        // SAFETY: the generator is alive and nobody else uses it (`&mut self`), the shape is as long as said, and `out`
        // can be written to; the tensor is ours alone.
        unsafe {
            let said = ffi::easel_shim_generator_randn(self.0.as_ptr(), shape.as_ptr(), shape.len(), &raw mut out);
            ffi::tensor(said, out)
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: it was made by the shim and is not used again.
        unsafe { ffi::easel_shim_generator_free(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::Generator;

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    /// From PyTorch 2.11: `g = torch.Generator("cpu").manual_seed(seed)`, then `torch.randn((1, 4, 8, 8), generator=g)`
    /// and `torch.randn((3,), generator=g)`. The last places are the processor's, in PyTorch too.
    #[test]
    fn the_numbers_are_those_of_pytorch_also_further_on() {
        for (seed, first, further) in [
            (7, [-0.820_134_5_f32, 0.395_631_16, 0.898_908_5], [1.297_037_4, 0.778_838_4, -0.482_789_07]),
            ((1 << 53) - 1, [-2.664_297_6, -1.091_048_6, 0.451_447_43], [-0.861_741_54, -1.579_497_6, -0.162_327_07]),
        ] {
            let mut generator = Generator::new(seed).unwrap();
            let noise = generator.randn(&[1, 4, 8, 8]).unwrap();
            assert_eq!((noise.size(), noise.kind()), (vec![1, 4, 8, 8], Kind::Float));
            let more = numbers(&generator.randn(&[3]).unwrap());
            for (value, expected) in numbers(&noise).iter().zip(first).chain(more.iter().zip(further)) {
                assert!((value - expected).abs() < 3e-6, "seed {seed}: {value}, not {expected}");
            }
        }
    }

    #[test]
    fn a_seed_is_its_own_while_thirty_two_threads_draw() {
        let draws = |seed: u64| {
            let mut generator = Generator::new(seed).unwrap();
            // Fewer than sixteen numbers are drawn one by one, more at once: other code of libtorch.
            [256, 3, 16].map(|count| numbers(&generator.randn(&[count]).unwrap()))
        };
        let alone: Vec<_> = (0..32).map(draws).collect();
        std::thread::scope(|threads| {
            for (seed, expected) in (0..32).zip(&alone) {
                threads.spawn(move || (0..50).for_each(|_| assert_eq!(draws(seed), *expected)));
            }
        });
        assert!(alone.windows(2).all(|pair| pair[0] != pair[1]), "every seed has its own numbers");
    }

    #[test]
    fn the_generator_of_libtorch_is_left_alone() {
        tch::manual_seed(3);
        let expected = numbers(&Tensor::randn([20], (Kind::Float, tch::Device::Cpu)));
        tch::manual_seed(3);
        drop(Generator::new(9).unwrap().randn(&[20]).unwrap());
        assert_eq!(numbers(&Tensor::randn([20], (Kind::Float, tch::Device::Cpu))), expected);
    }

    #[test]
    fn a_shape_that_cannot_be_is_an_error() {
        let error = Generator::new(0).unwrap().randn(&[-1]).unwrap_err().to_string();
        assert!(error.contains("negative dimension"), "{error}");
        let error = Generator::new(0).unwrap().randn(&[1 << 46]).unwrap_err().to_string();
        assert!(error.contains("memory"), "{error}");
    }
}
