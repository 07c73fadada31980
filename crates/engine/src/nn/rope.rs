//! Rotary positions (Su et al. 2021) over several axes: pairs of a head's numbers are turned by angles that grow with
//! the token's place. Tables and turning only; who sits where is the model's matter.

use tch::{Device, Kind, Tensor};
use torch_shim::kernels;

use super::{RmsNorm, are_many};
use crate::{Error, Result};

/// Longest period, in places.
const THETA: f64 = 10_000.0;

/// The angles of all tokens.
#[derive(Debug)]
pub struct RopeTable {
    turns: Turns,
}

/// What pairs are turned by, in the form that is best where it is used.
#[derive(Debug)]
enum Turns {
    /// Unit complex numbers, `(tokens, 1, head_dim / 2)`: a GPU turns all pairs in one go.
    Complex(Tensor),
    /// `(tokens, 1, head_dim / 2, 1)` cosines, and `(…, 2)` sines, the first of each pair negative: the sums round as
    /// diffusers' do, which libtorch's complex product on a CPU does not, and there it is little beside the matrices.
    Real {
        cosines: Tensor,
        sines: Tensor,
        /// `(tokens, head_dim)`: the cosines of all pairs, then the sines, for what is normed and turned in one go.
        both: Tensor,
    },
}

impl RopeTable {
    /// The table for tokens at `places`, one column for each axis; `axes` says how many numbers of a head each axis
    /// turns. Angles are computed in double precision and kept in single, as in diffusers.
    pub fn new(places: &[[i64; 3]], axes: [i64; 3], device: Device) -> Result<Self> {
        let mut angles = Vec::new();
        for (axis, dim) in axes.into_iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
            let column: Vec<f64> =
                places.iter().map(|place| place.get(axis).copied().unwrap_or_default() as f64).collect();
            #[expect(clippy::cast_precision_loss, reason = "a width")]
            let exponents =
                Tensor::f_arange_start_step(0, dim, 2, (Kind::Double, Device::Cpu))?.f_div_scalar(dim as f64)?;
            let frequencies = Tensor::f_pow_scalar(THETA, &exponents)?.f_reciprocal()?;
            angles.push(Tensor::f_from_slice(&column)?.f_outer(&frequencies)?);
        }
        let angles = Tensor::f_cat(&angles, -1)?;
        let single = |x: Tensor| Ok::<_, Error>(x.f_totype(Kind::Float)?.f_unsqueeze(1)?.f_to(device)?);
        let (cosines, sines) = (single(angles.f_cos()?)?, single(angles.f_sin()?)?);
        let turns = if device == Device::Cpu {
            let both = Tensor::f_cat(&[&cosines, &sines], -1)?.f_squeeze_dim(1)?;
            let sines = Tensor::f_stack(&[sines.f_neg()?, sines], -1)?;
            Turns::Real { cosines: cosines.f_unsqueeze(-1)?, sines, both }
        } else {
            Turns::Complex(Tensor::f_complex(&cosines, &sines)?)
        };
        Ok(Self { turns })
    }

    /// Streams of `(batch, tokens, heads, head_dim)`, each normed by its own, one after the other in a sequence of all
    /// tokens, and turned.
    pub fn apply_normed(&self, streams: &[(&Tensor, &RmsNorm)]) -> Result<Tensor> {
        let Some((first, _)) = streams.first() else {
            return Err(Error::internal("there are no tokens to turn"));
        };
        let (batch, _, heads, dim) = first.size4()?;
        let tokens = streams.iter().map(|(x, _)| Ok(x.size4()?.1)).sum::<Result<i64>>()?;
        match &self.turns {
            Turns::Real { both, .. }
                if are_many(tokens * heads * dim, heads * dim)
                    && streams.iter().all(|(x, norm)| kernels::takes(x) && kernels::takes(norm.terms().0)) =>
            {
                in_one_go(both, streams, [batch, tokens, heads, dim])
            }
            Turns::Real { .. } | Turns::Complex(_) => self.apply_each(streams),
        }
    }

    /// [`Self::apply_normed`] step by step.
    fn apply_each(&self, streams: &[(&Tensor, &RmsNorm)]) -> Result<Tensor> {
        let normed = streams.iter().map(|(x, norm)| norm.forward(x)).collect::<Result<Vec<_>>>()?;
        match normed.as_slice() {
            [one] => self.apply(one),
            many => self.apply(&Tensor::f_cat(many, 1)?),
        }
    }

    /// Turns `(batch, tokens, heads, head_dim)`, in single precision; neighbouring numbers are a pair.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.f_kind()?;
        let (batch, tokens, heads, dim) = x.size4()?;
        let pairs = x.f_totype(Kind::Float)?.f_contiguous()?.f_view([batch, tokens, heads, dim / 2, 2])?;
        let turned = match &self.turns {
            Turns::Complex(turns) => pairs.f_view_as_complex()?.f_mul(turns)?.f_view_as_real()?,
            Turns::Real { cosines, sines, .. } => {
                let mut across = pairs.f_flip([-1])?;
                pairs.f_mul(cosines)?.f_add_(&across.f_mul_(sines)?)?
            }
        };
        Ok(turned.f_view([batch, tokens, heads, dim])?.f_totype(kind)?)
    }
}

/// [`RopeTable::apply_normed`] in one pass, by the angles of all tokens, to a sequence of this shape.
fn in_one_go(turns: &Tensor, streams: &[(&Tensor, &RmsNorm)], shape: [i64; 4]) -> Result<Tensor> {
    let sequence = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?;
    let mut first = 0;
    for (x, norm) in streams {
        let length = x.size4()?.1;
        let (weight, eps) = norm.terms();
        let mut place = sequence.f_narrow(1, first, length)?;
        kernels::norm_turn(x, weight, &turns.f_narrow(0, first, length)?, eps, &mut place)?;
        first += length;
    }
    Ok(sequence)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{RopeTable, Turns};
    use crate::nn::{RmsNorm, are_many};

    /// The table as a GPU has it.
    fn as_complex(table: &RopeTable) -> RopeTable {
        let Turns::Real { cosines, sines, .. } = &table.turns else { panic!("it is on the CPU") };
        let turns = Tensor::complex(&cosines.squeeze_dim(-1), &sines.select(-1, 1));
        RopeTable { turns: Turns::Complex(turns) }
    }

    /// In one go, which is for many of them, and step by step, which few, a GPU and other kinds take.
    #[test]
    fn streams_are_normed_by_their_own_and_turned_in_their_places() {
        let float = (Kind::Float, Device::Cpu);
        let norm = |value: f64| RmsNorm::of(Tensor::full([8], value, float) + Tensor::arange(8, float), 1e-6);
        let (text, picture) = (norm(0.5), norm(-3.0));
        for count in [9, 1100] {
            assert_eq!(are_many(count * 128, 128), count == 1100);
            let places: Vec<_> = (0..count).map(|i| [0, i % 40, i / 9]).collect();
            let table = RopeTable::new(&places, [2, 2, 4], Device::Cpu).unwrap();
            // As queries lie beside keys and values.
            let wide = torch_shim::Generator::new(6).unwrap().randn(&[2, count, 16, 16]).unwrap();
            let (first, second) = (wide.narrow(1, 0, 4).narrow(3, 8, 8), wide.narrow(1, 4, count - 4).narrow(3, 0, 8));
            let streams = [(&first, &text), (&second, &picture)];
            for streams in [&streams[..], &[(&wide.narrow(3, 3, 8), &text)]] {
                let (ours, each) = (table.apply_normed(streams).unwrap(), table.apply_each(streams).unwrap());
                let complex = as_complex(&table).apply_normed(streams).unwrap();
                let limit = 1e-6 * each.abs().max().double_value(&[]);
                for (other, limit) in [(each, if count == 9 { 0.0 } else { limit }), (complex, limit)] {
                    let difference = (&ours - other).abs().max().double_value(&[]);
                    assert!(difference <= limit, "{difference}");
                }
            }
            assert!(table.apply_normed(&[]).is_err());
        }
    }

    #[test]
    fn pairs_turn_by_their_axis_and_place() {
        let table = RopeTable::new(&[[0, 0, 0], [7, 2, 3]], [2, 2, 4], Device::Cpu).unwrap();
        let x =
            Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]).view([1, 1, 1, 8]).repeat([1, 2, 1, 1]);
        let turned = Vec::<f32>::try_from(table.apply(&x).unwrap().flatten(0, -1)).unwrap();
        let complex = Vec::<f32>::try_from(as_complex(&table).apply(&x).unwrap().flatten(0, -1)).unwrap();
        let (slow, expected) = (
            0.03_f64,
            [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0].into_iter().chain([
                7_f64.cos(),
                7_f64.sin(),
                -2_f64.sin(),
                2_f64.cos(),
            ]),
        );
        let expected = expected.chain([3_f64.cos(), 3_f64.sin(), slow.cos(), slow.sin()]);
        for (i, ((ours, complex), expected)) in turned.iter().zip(complex).zip(expected).enumerate() {
            assert!((f64::from(complex) - expected).abs() < 1e-6, "{i}: {complex} instead of {expected}");
            assert!((f64::from(*ours) - expected).abs() < 1e-6, "{i}: {ours} instead of {expected}");
        }
        assert_eq!(turned.len(), 16);
    }
}
