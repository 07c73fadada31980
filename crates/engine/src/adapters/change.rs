//! What an adapter does to one layer, as it is written: which tensors, of which shapes, and whether they fit together.
//! No tensor is read here.

use easel_catalog::TensorInfo;

use super::file::Pieces;
use super::piece::Piece;

/// A tensor of an adapter file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
}

/// What is added to a weight. Sizes are those of the weight as a matrix: outputs, and all the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// `up · down`, with a core between them in Tucker form (Hu et al. 2021; `LyCORIS`).
    LowRank {
        /// `(outputs, rank)`.
        up: Stored,
        /// `(rank, inputs, kernel…)`.
        down: Stored,
        /// `(rank, rank, kernel…)`.
        core: Option<Stored>,
    },
    /// The elementwise product of two low-rank matrices (`LoHa`, Hyeon-Woo et al. 2021).
    Hadamard {
        /// The factors of both.
        factors: [[Stored; 2]; 2],
        /// Their cores in Tucker form.
        cores: Option<[Stored; 2]>,
    },
    /// The Kronecker product of two matrices (`LoKr`).
    Kronecker {
        /// The left one.
        left: Matrix,
        /// The right one.
        right: Matrix,
    },
    /// The change itself.
    Difference(Stored),
}

/// A matrix, or what it is the product of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// Itself.
    Whole(Stored),
    /// Two factors.
    Product(Stored, Stored),
    /// Two factors and the core between them.
    Tucker(Stored, Stored, Stored),
}

/// A change, and by what its alpha is divided; `None` where alpha plays no part.
pub type Read = (Change, Option<i64>);

impl Stored {
    /// The tensor of this header entry.
    pub(super) fn of(info: &TensorInfo) -> Self {
        Self {
            name: info.name.clone(),
            shape: info.shape.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect(),
        }
    }

    fn dim(&self, i: usize) -> i64 {
        self.shape.get(i).copied().unwrap_or(1)
    }

    /// The elements of one index of the first axis.
    fn inner(&self) -> i64 {
        self.shape.iter().skip(1).fold(1, |product, &n| product.saturating_mul(n))
    }

    /// The elements of one index of the first two axes.
    fn kernel(&self) -> i64 {
        self.shape.iter().skip(2).fold(1, |product, &n| product.saturating_mul(n))
    }
}

/// What the pieces of a layer do to its weight. The error says what is missing.
pub fn read(pieces: &Pieces<'_>) -> Result<Option<Read>, String> {
    let get = |piece| pieces.get(&piece).map(|info| Stored::of(info));
    let has = |wanted: fn(&Piece) -> bool| pieces.keys().any(wanted);
    if has(|piece| matches!(piece, Piece::Down | Piece::Up | Piece::Mid)) {
        let (Some(up), Some(down)) = (get(Piece::Up), get(Piece::Down)) else {
            return Err("one of its two factors is missing".to_owned());
        };
        let rank = down.dim(0);
        return Ok(Some((Change::LowRank { up, down, core: get(Piece::Mid) }, Some(rank))));
    }
    if has(|piece| matches!(piece, Piece::Hadamard(_) | Piece::HadamardCore(_))) {
        let all = [0, 1, 2, 3].map(|i| get(Piece::Hadamard(i)));
        let [Some(a), Some(b), Some(c), Some(d)] = all else {
            return Err("one of its four factors is missing".to_owned());
        };
        let cores = match (get(Piece::HadamardCore(0)), get(Piece::HadamardCore(1))) {
            (Some(first), Some(second)) => Some([first, second]),
            (None, None) => None,
            _ => return Err("one of its two cores is missing".to_owned()),
        };
        let rank = b.dim(0);
        return Ok(Some((Change::Hadamard { factors: [[a, b], [c, d]], cores }, Some(rank))));
    }
    if has(|piece| matches!(piece, Piece::Kronecker(_) | Piece::KroneckerFactor(_) | Piece::KroneckerCore)) {
        return kronecker(get).map(Some);
    }
    Ok(get(Piece::Difference).map(|stored| (Change::Difference(stored), None)))
}

fn kronecker(get: impl Fn(Piece) -> Option<Stored>) -> Result<Read, String> {
    let factors = |i| (get(Piece::KroneckerFactor(i)), get(Piece::KroneckerFactor(i + 1)));
    let mut rank = None;
    let mut matrix = |whole: Option<Stored>, (a, b): (Option<Stored>, Option<Stored>), core: Option<Stored>| {
        match (whole, a, b, core) {
            (Some(whole), None, None, None) => Ok(Matrix::Whole(whole)),
            (None, Some(a), Some(b), core) => {
                // The right matrix goes before: LyCORIS takes the rank of the last one that is factored.
                rank = Some(b.dim(0));
                Ok(match core {
                    Some(core) => Matrix::Tucker(core, a, b),
                    None => Matrix::Product(a, b),
                })
            }
            _ => Err("its two matrices are not both there, whole or as two factors".to_owned()),
        }
    };
    let left = matrix(get(Piece::Kronecker(0)), factors(0), None)?;
    let right = matrix(get(Piece::Kronecker(1)), factors(2), get(Piece::KroneckerCore))?;
    Ok((Change::Kronecker { left, right }, rank))
}

impl Matrix {
    /// Rows and columns, or why it is none.
    fn size(&self) -> Result<(i64, i64), String> {
        match self {
            Self::Whole(whole) => Ok((whole.dim(0), whole.inner())),
            Self::Product(a, b) if a.inner() == b.dim(0) => Ok((a.dim(0), b.inner())),
            Self::Tucker(core, a, b) if core.dim(0) == a.dim(0) && core.dim(1) == b.dim(0) => {
                Ok((a.inner(), b.inner().saturating_mul(core.kernel())))
            }
            Self::Product(a, b) | Self::Tucker(_, a, b) => Err(unfit(&[a, b])),
        }
    }
}

impl Change {
    /// Outputs and everything else, or why its tensors do not fit together.
    pub fn size(&self) -> Result<(i64, i64), String> {
        match self {
            Self::LowRank { up, down, core: None } => {
                if up.inner() == down.dim(0) {
                    Ok((up.dim(0), down.inner()))
                } else {
                    Err(unfit(&[up, down]))
                }
            }
            Self::LowRank { up, down, core: Some(core) } => {
                let fits = up.inner() == core.dim(0) && core.dim(1) == down.dim(0);
                let inner = down.inner().saturating_mul(core.kernel());
                if fits { Ok((up.dim(0), inner)) } else { Err(unfit(&[up, core, down])) }
            }
            Self::Hadamard { factors, cores } => {
                let mut sizes = Vec::with_capacity(2);
                for (i, [a, b]) in factors.iter().enumerate() {
                    let matrix = match cores.as_ref().and_then(|cores| cores.get(i)) {
                        Some(core) => Matrix::Tucker(core.clone(), a.clone(), b.clone()),
                        None => Matrix::Product(a.clone(), b.clone()),
                    };
                    sizes.push(matrix.size()?);
                }
                match sizes.as_slice() {
                    [first, second] if first == second => Ok(*first),
                    _ => Err(format!("its two products have sizes {sizes:?}")),
                }
            }
            Self::Kronecker { left, right } => {
                let ((a, b), (c, d)) = (left.size()?, right.size()?);
                Ok((a.saturating_mul(c), b.saturating_mul(d)))
            }
            Self::Difference(stored) => Ok((stored.dim(0), stored.inner())),
        }
    }

    /// What it is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LowRank { core: None, .. } => "LoRA",
            Self::LowRank { core: Some(_), .. } => "LoCon",
            Self::Hadamard { .. } => "LoHa",
            Self::Kronecker { .. } => "LoKr",
            Self::Difference(_) => "difference",
        }
    }
}

fn unfit(tensors: &[&Stored]) -> String {
    let shapes: Vec<_> = tensors.iter().map(|tensor| format!("{:?}", tensor.shape)).collect();
    format!("its factors have shapes {}, which cannot be multiplied", shapes.join(" and "))
}
