//! The noise that pictures are made from.

use tch::Tensor;
pub use torch_shim::Generator;

use crate::Result;

/// Unit noise of this shape, single precision, on the CPU: the numbers of PyTorch's
/// `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))`. Drawn for one picture at a time and never
/// in half precision, so that a seed means the same picture everywhere: half-precision draws are other numbers.
///
/// A schedule that needs noise at its steps goes on drawing from the picture's [`Generator`], as diffusers does.
pub fn unit_noise(seed: u64, shape: &[i64]) -> Result<Tensor> {
    Ok(Generator::new(seed)?.randn(shape)?)
}

/// The noise of pictures that are computed together: each draws from its own generator, in the order in which diffusers
/// draws for one picture.
#[derive(Debug)]
pub struct Noise {
    generators: Vec<Generator>,
    shape: Vec<i64>,
}

impl Noise {
    /// The noise of these seeds, for pictures of `shape` each (without the batch).
    pub fn of(seeds: &[u64], shape: &[i64]) -> Result<Self> {
        let generators = seeds.iter().map(|seed| Ok(Generator::new(*seed)?)).collect::<Result<_>>()?;
        Ok(Self { generators, shape: [&[1], shape].concat() })
    }

    /// The noise of several, for all of their pictures in this order; of one shape.
    pub fn joined(noises: Vec<Self>) -> Self {
        let shape = noises.first().map(|first| first.shape.clone()).unwrap_or_default();
        Self { generators: noises.into_iter().flat_map(|noise| noise.generators).collect(), shape }
    }

    /// `(pictures, …shape)`: the next unit noise of every picture, single precision, on the CPU.
    pub fn draw(&mut self) -> Result<Tensor> {
        let shape = &self.shape;
        let drawn = self.generators.iter_mut().map(|generator| Ok(generator.randn(shape)?));
        Ok(Tensor::f_cat(&drawn.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Noise, unit_noise};

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

    /// From PyTorch 2.11, four draws from one generator.
    #[test]
    fn goes_on_as_a_pytorch_generator() {
        let mut stream = Noise::of(&[7], &[4, 8, 8]).unwrap();
        for expected in [
            [-0.820_134_5_f32, 0.395_631_16, 0.898_908_5],
            [0.006_349_292, -1.506_457_3, -0.624_478_76],
            [0.381_143_27, 0.395_260_6, -1.542_341_2],
            [-1.295_473_2, 0.468_206_58, 0.162_388_07],
        ] {
            let values = Vec::<f32>::try_from(stream.draw().unwrap().flatten(0, -1)).unwrap();
            for (value, expected) in values.iter().zip(expected) {
                assert!((value - expected).abs() < 3e-6, "{value}, not {expected}");
            }
        }
    }
}
