//! Functions of single numbers, each written over its result: what libtorch's kernels round to on this processor, which is
//! not always the nearest number.
#![expect(unsafe_code, reason = "libtorch is C++")]

use crate::{Result, ffi};

/// `√x` of each.
pub fn sqrt(numbers: &mut [f32]) -> Result<()> {
    compute(0, numbers)
}

/// `eˣ` of each.
pub fn exp(numbers: &mut [f32]) -> Result<()> {
    compute(1, numbers)
}

/// `eˣ − 1` of each.
pub fn exp_m1(numbers: &mut [f32]) -> Result<()> {
    compute(2, numbers)
}

/// The natural logarithm of each.
pub fn log(numbers: &mut [f32]) -> Result<()> {
    compute(3, numbers)
}

fn compute(function: i64, numbers: &mut [f32]) -> Result<()> {
    let count = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
    // SAFETY: the shim reads and writes `count` numbers from the start of a slice that is borrowed alone, and keeps nothing
    // of it.
    unsafe { ffi::read(ffi::easel_shim_rounded(function, numbers.as_mut_ptr(), count)) }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::{exp, exp_m1, log, sqrt};
    use crate::Result;

    type Function = fn(&mut [f32]) -> Result<()>;

    /// As a tensor of many, and one by one: the place of a number does not matter.
    #[test]
    fn numbers_are_those_of_tensors() {
        let numbers: Vec<f32> = (1..2000_u16).map(|i| f32::from(i) * 0.007).collect();
        let tensor = Tensor::from_slice(&numbers);
        let cases: [(Function, Tensor); 4] =
            [(sqrt, tensor.sqrt()), (exp, tensor.exp()), (exp_m1, tensor.expm1()), (log, tensor.log())];
        for (function, expected) in cases {
            let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let expected = bits(&Vec::<f32>::try_from(expected).unwrap());
            let mut many = numbers.clone();
            function(&mut many).unwrap();
            assert_eq!(bits(&many), expected);
            let mut single = numbers.clone();
            for one in single.chunks_mut(1) {
                function(one).unwrap();
            }
            assert_eq!(bits(&single), expected);
        }
        sqrt(&mut []).unwrap();
    }
}
