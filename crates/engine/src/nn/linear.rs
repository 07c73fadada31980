//! Matrices and tables.

use tch::{Kind, Tensor};

use crate::weights::{Scope, Weight};
use crate::{Error, Result};

/// `y = x Wᵀ + b` over the last dimension.
#[derive(Debug)]
pub struct Linear {
    matrix: Matrix,
    bias: Option<Weight>,
}

/// A matrix, which may lie in another kind than that of what it multiplies.
#[derive(Debug)]
struct Matrix {
    weight: Weight,
    /// What it is widened to, where it lies as it is stored.
    widened: Option<Kind>,
}

impl Matrix {
    fn open(scope: &Scope<'_>, shape: &[i64]) -> Result<Self> {
        let weight = scope.matrix("weight", shape)?;
        let widened = (weight.f_kind()? != scope.kind()).then(|| scope.kind());
        Ok(Self { weight, widened })
    }

    /// The matrix in the kind it is used in, and the memory it takes there for as long as that.
    fn ready(&self) -> Result<Tensor> {
        let Some(kind) = self.widened else { return Ok(self.weight.shallow_clone()) };
        let ready = self.weight.f_totype(kind)?;
        self.weight.forget();
        Ok(ready)
    }
}

impl From<Weight> for Matrix {
    fn from(weight: Weight) -> Self {
        Self { weight, widened: None }
    }
}

impl Linear {
    /// From `weight` and `bias` of the scope.
    pub fn open(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Result<Self> {
        let matrix = Matrix::open(scope, &[outputs, inputs])?;
        Ok(Self { matrix, bias: Some(scope.tensor("bias", &[outputs])?) })
    }

    /// From `weight` of the scope alone.
    pub fn open_without_bias(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Result<Self> {
        Ok(Self { matrix: Matrix::open(scope, &[outputs, inputs])?, bias: None })
    }

    /// From what is at hand: `(outputs, inputs)` and `(outputs)`.
    pub(super) fn of(weight: Weight, bias: Weight) -> Self {
        Self { matrix: weight.into(), bias: Some(bias) }
    }

    /// From a matrix at hand: `(outputs, inputs)`.
    pub(super) fn without_bias(weight: Weight) -> Self {
        Self { matrix: weight.into(), bias: None }
    }

    /// `(…, inputs)` to `(…, outputs)`.
    ///
    /// PyTorch fuses the bias into the product only where the input is contiguous, and this does the same: the two
    /// ways round differently, and over many steps that can be seen in the latents. Left to itself, libtorch would
    /// also multiply each picture of a batch by its own copy of the matrix when the input is not contiguous.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let matrix = self.matrix.ready()?;
        if x.is_contiguous() {
            return Ok(x.f_linear(&matrix, self.bias.as_deref())?);
        }
        let (mut shape, outputs) = (x.size(), matrix.size2()?.0);
        let inputs =
            std::mem::replace(shape.last_mut().ok_or_else(|| Error::internal("a number has no matrix"))?, outputs);
        let product = x.f_reshape([-1, inputs])?.f_linear::<&Tensor>(&matrix, None)?;
        let mut product = product.f_view(shape.as_slice())?;
        match &self.bias {
            Some(bias) => Ok(product.f_add_(bias)?),
            None => Ok(product),
        }
    }
}

/// A table of rows.
#[derive(Debug)]
pub struct Embedding {
    weight: Weight,
    kind: Kind,
}

impl Embedding {
    /// From `weight` of the scope.
    pub fn open(scope: &Scope<'_>, rows: i64, width: i64) -> Result<Self> {
        Ok(Self { weight: scope.matrix("weight", &[rows, width])?, kind: scope.kind() })
    }

    /// `(…)` of row numbers to `(…, width)`. The numbers must be within the table.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_embedding(&self.weight, rows, -1, false, false)?.f_totype(self.kind)?)
    }

    /// The first `count` rows, copied: `(count, width)`.
    pub fn first_rows(&self, count: i64) -> Result<Tensor> {
        Ok(self.weight.f_narrow_copy(0, 0, count)?.f_totype(self.kind)?)
    }
}
