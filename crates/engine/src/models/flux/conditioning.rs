//! What a picture is made from besides its noise (`CombinedTimestepGuidanceTextProjEmbeddings` in diffusers), and what
//! of it can be computed once.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::modulation::Prepared;
use crate::config::{Activation, FluxConfig};
use crate::nn::rope::RopeTable;
use crate::nn::{Linear, Sinusoid, are_many};
use crate::weights::Scope;
use crate::{Error, Result};

/// Width of the sinusoids of time and guidance.
const SINUSOID: i64 = 256;

/// What time and guidance are multiplied by before they become waves.
const TIMES: f32 = 1000.0;

/// Most rows that are prepared at once, so that what is kept of them is small beside the weights.
const ROWS: usize = 32;

/// For how many times what they decide is prepared at once, for pictures of so many tokens (of text and picture) and so many
/// texts of their own. For small pictures it is one, as in diffusers.
pub fn at_once(config: &FluxConfig, tokens: i64, texts: usize) -> usize {
    let width = config.width();
    if are_many(tokens.saturating_mul(width), width) { (ROWS / texts.max(1)).max(1) } else { 1 }
}

/// What a picture is made from besides its noise.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// `(batch, tokens, text_dim)`: T5's states.
    pub text: &'a Tensor,
    /// CLIP's pooled state, `(batch, pooled_dim)`, or one for all, `(1, pooled_dim)`: what is computed from that is the
    /// same however many pictures there are.
    pub pooled: &'a Tensor,
    /// How strongly to follow the text, for a network that is told of it; it must be there for those.
    pub guidance: Option<f64>,
    /// Rows and columns of patches.
    pub grid: (i64, i64),
    /// The times that the network will be asked at, in order: what they decide is computed for many of them at once. It
    /// can be asked at others too, which takes longer.
    pub times: &'a [f64],
}

/// What of [`Conditions`] is the same at every step.
#[derive(Debug)]
pub struct Conditioning {
    pub(super) text: Tensor,
    pub(super) rope: RopeTable,
    /// Of text and picture.
    tokens: i64,
    pooled: Tensor,
    guidance: Option<Tensor>,
    times: Vec<f64>,
    /// What some of the times decide in the blocks.
    pub(super) prepared: RefCell<Option<Prepared>>,
}

impl Conditioning {
    /// The times to prepare when the network is asked at `time`: as many of those to come as are kept at once.
    pub(super) fn times_from(&self, time: f64, config: &FluxConfig) -> Result<Vec<f64>> {
        let known = self.times.iter().position(|known| known.to_bits() == time.to_bits());
        let most = at_once(config, self.tokens, usize::try_from(self.pooled.size2()?.0).unwrap_or(1));
        Ok(known.map_or_else(|| vec![time], |first| self.times.iter().skip(first).take(most).copied().collect()))
    }
}

/// Two matrices with silu between them.
#[derive(Debug)]
struct Embedder {
    first: Linear,
    second: Linear,
}

impl Embedder {
    fn open(scope: &Scope<'_>, inputs: i64, width: i64) -> Result<Self> {
        let first = Linear::open(&scope.at("linear_1"), inputs, width)?;
        Ok(Self { first, second: Linear::open(&scope.at("linear_2"), width, width)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&Activation::Silu.apply(self.first.forward(x)?)?)
    }
}

/// The embedders in front of the blocks.
#[derive(Debug)]
pub(super) struct Embedders {
    sinusoid: Sinusoid,
    kind: Kind,
    time: Embedder,
    guidance: Option<Embedder>,
    pooled: Embedder,
    text: Linear,
}

impl Embedders {
    pub(super) fn open(root: &Scope<'_>, config: &FluxConfig) -> Result<Self> {
        let scope = root.at("time_text_embed");
        let width = config.width();
        Ok(Self {
            sinusoid: Sinusoid::new(SINUSOID, true, 0.0, root.device())?,
            kind: root.kind(),
            time: Embedder::open(&scope.at("timestep_embedder"), SINUSOID, width)?,
            guidance: if config.guidance_embeds {
                Some(Embedder::open(&scope.at("guidance_embedder"), SINUSOID, width)?)
            } else {
                None
            },
            pooled: Embedder::open(&scope.at("text_embedder"), config.pooled_dim, width)?,
            text: Linear::open(&root.at("context_embedder"), config.text_dim, width)?,
        })
    }

    pub(super) fn condition(&self, conditions: &Conditions<'_>, config: &FluxConfig) -> Result<Conditioning> {
        let guidance = match (&self.guidance, conditions.guidance) {
            (Some(embedder), Some(guidance)) => Some(embedder.forward(&self.waves(&[guidance])?)?),
            (Some(_), None) => return Err(Error::internal("the transformer must be told of the guidance")),
            (None, _) => None,
        };
        let (rows, columns) = conditions.grid;
        let (_, tokens, _) = conditions.text.size3()?;
        // The text has no place; patches have a row and a column.
        let text = (0..tokens).map(|_| [0; 3]);
        let places: Vec<_> =
            text.chain((0..rows).flat_map(|row| (0..columns).map(move |column| [0, row, column]))).collect();
        Ok(Conditioning {
            text: self.text.forward(conditions.text)?,
            tokens: tokens.saturating_add(rows.saturating_mul(columns)),
            rope: RopeTable::new(&places, config.axes, conditions.text.device())?,
            pooled: self.pooled.forward(conditions.pooled)?,
            guidance,
            times: conditions.times.to_vec(),
            prepared: RefCell::default(),
        })
    }

    /// `(times, batch, width)`: what time, guidance and pooled text are together.
    pub(super) fn times(&self, times: &[f64], conditioning: &Conditioning) -> Result<Tensor> {
        let mut embedding = self.time.forward(&self.waves(times)?)?;
        if let Some(guidance) = &conditioning.guidance {
            embedding = embedding.f_add_(guidance)?;
        }
        Ok(embedding.f_unsqueeze(1)?.f_add(&conditioning.pooled)?)
    }

    /// `(numbers, 256)`. A number is multiplied in single precision whatever the weights have: in bfloat16, as diffusers
    /// does it, a time of 0.751 would become 752 and a guidance of 3.5 would become 3504.
    fn waves(&self, numbers: &[f64]) -> Result<Tensor> {
        #[expect(clippy::cast_possible_truncation, reason = "diffusers makes a tensor in single precision of it")]
        let numbers: Vec<f32> = numbers.iter().map(|number| *number as f32 * TIMES).collect();
        let numbers = Tensor::f_from_slice(&numbers)?.f_to(self.sinusoid.device())?;
        Ok(self.sinusoid.forward(&numbers)?.f_totype(self.kind)?)
    }
}
