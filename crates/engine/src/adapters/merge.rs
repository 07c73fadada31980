//! The arithmetic of adapters, in single precision: `w + Σ scale · change`. The result is rounded once, by who asked.
//! Reference: `merge` of PEFT's `LoraLayer` and its variants, which diffusers' `fuse_lora` calls.

use tch::Tensor;

use super::change::{Change, Matrix, Stored};
use super::patch::{Magnitude, Patch};
use crate::Result;
use crate::weights::WeightMap;

/// `base` with the changes, each read from its file, in this order.
pub(super) fn merge(base: &Tensor, changes: &[(&Patch, &WeightMap)]) -> Result<Tensor> {
    let shape = base.size();
    let rows = shape.first().copied().unwrap_or(1);
    let mut weight = base.f_reshape([rows, -1])?;
    let mut sum: Option<Tensor> = None;
    for (patch, file) in changes {
        let change = own_rows(&whole(&patch.change, file)?, patch)?.f_mul_scalar(patch.scale)?;
        let Some(magnitude) = &patch.magnitude else {
            sum = Some(match sum {
                Some(sum) => sum.f_add(&change)?,
                None => change,
            });
            continue;
        };
        // DoRA brings the rows to a length, so what came before must be in them.
        if let Some(sum) = sum.take() {
            weight = weight.f_add(&sum)?;
        }
        weight = renormed(&weight.f_add(&change)?, magnitude, patch, file, &shape)?;
    }
    if let Some(sum) = sum {
        weight = weight.f_add(&sum)?;
    }
    Ok(weight.f_reshape(shape)?.f_contiguous()?)
}

/// The whole change as a matrix, not scaled.
fn whole(change: &Change, file: &WeightMap) -> Result<Tensor> {
    let read = |stored: &Stored| read(stored, file);
    match change {
        Change::LowRank { up, down, core: None } => Ok(rows_of(&read(up)?)?.f_matmul(&rows_of(&read(down)?)?)?),
        Change::LowRank { up, down, core: Some(core) } => {
            // Towards the outputs, then from the inputs: `(outputs, rank, kernel)`, `(outputs, inputs, kernel)`.
            let (up, down) = (rows_of(&read(up)?)?, rows_of(&read(down)?)?);
            tucker(&read(core)?, &up.f_transpose(0, 1)?, &down)
        }
        Change::Hadamard { factors: [first, second], cores } => {
            let product = |[a, b]: &[Stored; 2], core: Option<&Stored>| -> Result<Tensor> {
                let (a, b) = (rows_of(&read(a)?)?, rows_of(&read(b)?)?);
                match core {
                    Some(core) => tucker(&read(core)?, &a, &b),
                    None => Ok(a.f_matmul(&b)?),
                }
            };
            let [one, two] = match cores {
                Some([one, two]) => [Some(one), Some(two)],
                None => [None, None],
            };
            Ok(product(first, one)?.f_mul(&product(second, two)?)?)
        }
        Change::Kronecker { left, right } => Ok(matrix(left, file)?.f_kron(&matrix(right, file)?)?),
        Change::Difference(stored) => rows_of(&read(stored)?),
    }
}

fn matrix(matrix: &Matrix, file: &WeightMap) -> Result<Tensor> {
    let read = |stored: &Stored| rows_of(&read(stored, file)?);
    match matrix {
        Matrix::Whole(whole) => read(whole),
        Matrix::Product(a, b) => Ok(read(a)?.f_matmul(&read(b)?)?),
        Matrix::Tucker(core, a, b) => tucker(&self::read(core, file)?, &read(a)?, &read(b)?),
    }
}

/// `(i, j, kernel…)`, `(i, outputs)` and `(j, inputs)` to `(outputs, inputs·kernel)`.
fn tucker(core: &Tensor, outputs: &Tensor, inputs: &Tensor) -> Result<Tensor> {
    let core = core.f_flatten(2, -1)?;
    let product = Tensor::f_einsum("ijk,io,jn->onk", &[&core, outputs, inputs], None::<i64>)?;
    Ok(product.f_flatten(1, -1)?)
}

/// A tensor of the file; `file` holds its bytes for longer than anything here lives.
fn read(stored: &Stored, file: &WeightMap) -> Result<Tensor> {
    Ok(file.root().tensor(&stored.name, &stored.shape)?.shallow_clone())
}

/// A tensor as a matrix: its first axis, and the rest.
fn rows_of(tensor: &Tensor) -> Result<Tensor> {
    let rows = tensor.size().first().copied().unwrap_or(1);
    Ok(tensor.f_reshape([rows, -1])?)
}

/// The rows of a change that are meant, in their order.
fn own_rows(change: &Tensor, patch: &Patch) -> Result<Tensor> {
    let change = match &patch.rows {
        Some(rows) => change.f_narrow(0, rows.start, rows.end - rows.start)?,
        None => change.shallow_clone(),
    };
    if !patch.swapped {
        return Ok(change);
    }
    let halves = change.f_chunk(2, 0)?;
    let turned: Vec<_> = halves.iter().rev().collect();
    Ok(Tensor::f_cat(&turned, 0)?)
}

/// The weight with its rows (or, as `LyCORIS` may have it, its columns) as long as the magnitudes say.
fn renormed(weight: &Tensor, magnitude: &Magnitude, patch: &Patch, file: &WeightMap, shape: &[i64]) -> Result<Tensor> {
    let wanted = read(&magnitude.stored, file)?;
    if !magnitude.by_input {
        let wanted = own_rows(&wanted.f_reshape([-1, 1])?, patch)?;
        let lengths = weight.f_norm_scalaropt_dim(2, [1], true)?;
        return Ok(weight.f_mul(&wanted.f_div(&lengths)?)?);
    }
    let inputs = shape.get(1).copied().unwrap_or(1);
    let weight = weight.f_reshape([weight.size2()?.0, inputs, -1])?;
    let lengths = weight.f_norm_scalaropt_dim(2, [0, 2], true)?;
    let factors = wanted.f_reshape([1, inputs, 1])?.f_div(&lengths)?;
    Ok(weight.f_mul(&factors)?.f_flatten(1, -1)?)
}
