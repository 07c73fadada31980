//! The noise that pictures are made from.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Unit noise of this shape, single precision, on the CPU: the numbers of PyTorch's
/// `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))`. Drawn for one picture at a time and never
/// in half precision, so that a seed means the same picture everywhere: half-precision draws are other numbers.
///
/// It reseeds libtorch's one generator; seeding and drawing are one step, whatever other threads draw.
pub fn unit_noise(seed: u64, shape: &[i64]) -> Result<Tensor> {
    NoiseStream::new(seed, shape).draw()
}

/// One picture's generator: tensors of unit noise, one after the other, as PyTorch draws them from the same generator.
#[derive(Debug)]
pub struct NoiseStream {
    seed: u64,
    shape: Vec<i64>,
    drawn: Vec<Tensor>,
    given: usize,
}

impl NoiseStream {
    /// The generator of a seed, for tensors of one shape.
    pub fn new(seed: u64, shape: &[i64]) -> Self {
        Self { seed, shape: shape.to_vec(), drawn: Vec::new(), given: 0 }
    }

    /// The next noise.
    pub fn draw(&mut self) -> Result<Tensor> {
        if self.given == self.drawn.len() {
            // The one generator of the process cannot be left in the middle of a picture, as others draw from it too, so
            // it starts anew. Twice as many each time costs no more than twice the numbers in all.
            self.drawn = self.draw_first((2 * self.given).max(1))?;
        }
        let noise = self.drawn.get(self.given).ok_or_else(|| Error::internal("the noise has run out"))?.shallow_clone();
        self.given += 1;
        Ok(noise)
    }

    fn draw_first(&self, count: usize) -> Result<Vec<Tensor>> {
        static GENERATOR: Mutex<()> = Mutex::new(());
        let _drawing = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(self.seed.cast_signed());
        (0..count).map(|_| Ok(Tensor::f_randn(&self.shape, (Kind::Float, Device::Cpu))?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::unit_noise;

    #[test]
    fn is_the_seed_s_own_while_other_threads_draw() {
        let draw = |seed: u64| Vec::<f32>::try_from(unit_noise(seed, &[256]).unwrap()).unwrap();
        let alone: Vec<_> = (0..4).map(draw).collect();
        std::thread::scope(|threads| {
            for (seed, expected) in (0..4).zip(&alone) {
                threads.spawn(move || (0..500).for_each(|_| assert_eq!(draw(seed), *expected)));
            }
        });
    }

    /// From PyTorch 2.11: `torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(seed))`. The last
    /// place is the processor's, in PyTorch too; that it is right is seen where the parity tests compare to the bit.
    #[test]
    fn is_the_noise_of_a_pytorch_generator() {
        for (seed, expected) in [
            (7, [-0.820_134_5_f32, 0.395_631_16, 0.898_908_5]),
            ((1 << 53) - 1, [-2.664_297_6, -1.091_048_6, 0.451_447_43]),
        ] {
            let noise = unit_noise(seed, &[1, 4, 8, 8]).unwrap();
            let values = Vec::<f32>::try_from(noise.flatten(0, -1)).unwrap();
            for (value, expected) in values.iter().zip(expected) {
                assert!((value - expected).abs() < 3e-6, "seed {seed}: {value}, not {expected}");
            }
            assert_eq!(unit_noise(seed, &[1, 4, 8, 8]).unwrap(), noise);
        }
    }
}
