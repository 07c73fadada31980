//! Several matrices that meet the same input, as one product where that costs no memory: the product is faster the
//! larger it is (by a twentieth to two fifths for queries, keys and values on two cores, the more the narrower they are).

use tch::Tensor;

use super::Linear;
use crate::Result;
use crate::weights::{Scope, Weight};

/// Numbers in the longest vector of a processor. Where a part of other length ends, a vector holds the end of one part
/// and the beginning of the next, and rounds otherwise than for each alone; multiples round the same.
const LANES: i64 = 16;

/// Matrices with biases over one input: queries, keys and values and what else starts from the same states.
#[derive(Debug)]
pub struct StackedLinear {
    matrices: Matrices,
    outputs: Vec<i64>,
}

#[derive(Debug)]
enum Matrices {
    /// All rows in one, as the makers of FLUX write them, or put together while they were copied to a device.
    One(Linear),
    /// As diffusers writes them, each where it lies in the file.
    Each(Vec<Linear>),
}

impl StackedLinear {
    /// From `<name>.weight` and `<name>.bias` of each of `parts`, whose outputs are given.
    pub fn open(scope: &Scope<'_>, inputs: i64, parts: &[(&str, i64)]) -> Result<Self> {
        let take = |name: &str, bias: bool| -> Result<Vec<Weight>> {
            let shape = |outputs: i64| if bias { vec![outputs] } else { vec![outputs, inputs] };
            parts.iter().map(|(part, outputs)| scope.at(part).tensor(name, &shape(*outputs))).collect()
        };
        let (weights, biases) = (take("weight", false)?, take("bias", true)?);
        let whole = parts.iter().all(|(_, outputs)| outputs % LANES == 0);
        let stacked = if whole { Weight::stack(weights)? } else { Err(weights) };
        let matrices = match stacked {
            Ok(weight) => Matrices::One(Linear::of(weight, Weight::copied(&biases)?)),
            Err(weights) => {
                Matrices::Each(weights.into_iter().zip(biases).map(|(weight, bias)| Linear::of(weight, bias)).collect())
            }
        };
        Ok(Self { matrices, outputs: parts.iter().map(|(_, outputs)| *outputs).collect() })
    }

    /// From `<name>.weight` of each of `parts` alone, whose outputs are given.
    pub fn open_without_bias(scope: &Scope<'_>, inputs: i64, parts: &[(&str, i64)]) -> Result<Self> {
        let weights = parts
            .iter()
            .map(|(part, outputs)| scope.at(part).tensor("weight", &[*outputs, inputs]))
            .collect::<Result<Vec<_>>>()?;
        let whole = parts.iter().all(|(_, outputs)| outputs % LANES == 0);
        let matrices = match if whole { Weight::stack(weights)? } else { Err(weights) } {
            Ok(weight) => Matrices::One(Linear::without_bias(weight)),
            Err(weights) => Matrices::Each(weights.into_iter().map(Linear::without_bias).collect()),
        };
        Ok(Self { matrices, outputs: parts.iter().map(|(_, outputs)| *outputs).collect() })
    }

    /// Whether it is one product.
    pub fn is_one(&self) -> bool {
        matches!(self.matrices, Matrices::One(_))
    }

    /// `(…, inputs)` to one tensor for each part, which may be views of one.
    pub fn forward(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        match &self.matrices {
            Matrices::One(one) => Ok(one.forward(x)?.f_split_with_sizes(self.outputs.as_slice(), -1)?),
            Matrices::Each(each) => each.iter().map(|part| part.forward(x)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use easel_catalog::TensorFile;
    use safetensors::tensor::{Dtype, TensorView};
    use serde_json::Map;
    use tch::{Device, Kind, Tensor};

    use super::StackedLinear;
    use crate::parts::{Form, Part, PartTensor};
    use crate::weights::WeightMap;

    /// A file with `qkv.weight` and `qkv.bias` as one, and the part whose queries, keys and values are `each` rows of it.
    /// The rows are given in the order of `order`.
    fn part(folder: &Path, each: usize, order: [usize; 3]) -> Part {
        let numbers = |count: usize| {
            (0..count)
                .flat_map(|i| (f32::from(u16::try_from(i).unwrap()) * 0.25 - 3.0).to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let (weight, bias) = (numbers(12 * each), numbers(3 * each));
        let path = folder.join("fused.safetensors");
        let views = [
            ("qkv.weight", TensorView::new(Dtype::F32, vec![3 * each, 4], &weight).unwrap()),
            ("qkv.bias", TensorView::new(Dtype::F32, vec![3 * each], &bias).unwrap()),
        ];
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let file = Arc::new(TensorFile::open(&path).unwrap());
        let mut tensors = Vec::new();
        for (name, place) in ["q", "k", "v"].into_iter().zip(order) {
            let rows = (place * each) as u64..((place + 1) * each) as u64;
            for what in ["weight", "bias"] {
                let info = file.tensors.iter().find(|info| info.name == format!("qkv.{what}")).unwrap().clone();
                let form = Form::Rows(rows.clone());
                tensors.push(PartTensor { name: format!("{name}.{what}"), file: Arc::clone(&file), info, form });
            }
        }
        Part { name: "transformer".to_owned(), class: "Fused".to_owned(), config: Map::new(), tensors, patches: None }
    }

    fn open(part: &Part, each: i64, kind: Kind) -> StackedLinear {
        let weights = WeightMap::of(part, Device::Cpu, kind).unwrap();
        StackedLinear::open(&weights.root(), 4, &[("q", each), ("k", each), ("v", each)]).unwrap()
    }

    #[test]
    fn rows_that_follow_each_other_are_one_product_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let x = Tensor::from_slice(&[1.0_f32, -2.0, 0.5, 3.0]).view([1, 1, 4]);
        let open = |order| open(&part(folder.path(), 16, order), 16, Kind::Float);
        let (fused, swapped) = (open([0, 1, 2]), open([1, 0, 2]));
        assert!(fused.is_one() && !swapped.is_one());
        let (one, each) = (fused.forward(&x).unwrap(), swapped.forward(&x).unwrap());
        for (ours, theirs) in [(0, 1), (1, 0), (2, 2)] {
            assert_eq!(one[ours], each[theirs], "{ours}");
        }
        // The first row: -3, -2.75, -2.5, -2.25 and a bias of -3.
        assert!((one[0].double_value(&[0, 0, 0]) - -8.5).abs() < 1e-6, "{}", one[0]);
    }

    #[test]
    fn what_is_converted_is_put_together_in_its_own_order() {
        let folder = tempfile::tempdir().unwrap();
        let x = Tensor::from_slice(&[1.0_f64, -2.0, 0.5, 3.0]).view([1, 1, 4]);
        let swapped = open(&part(folder.path(), 16, [1, 0, 2]), 16, Kind::Double);
        assert!(swapped.is_one());
        assert!((swapped.forward(&x).unwrap()[1].double_value(&[0, 0, 0]) - -8.5).abs() < 1e-9);
    }

    #[test]
    fn parts_that_fill_no_vector_stay_by_themselves() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!open(&part(folder.path(), 3, [0, 1, 2]), 3, Kind::Float).is_one());
    }
}
