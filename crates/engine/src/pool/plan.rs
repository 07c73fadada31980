//! What a job will need, phase by phase, and what that comes to. Numbers only; who has room for it is the pool's affair.

use std::collections::BTreeMap;

use tch::Kind;

use super::known::Key;

/// What is asked for, as far as memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How many pictures.
    pub pictures: u32,
    /// What the networks compute in.
    pub kind: Kind,
}

/// What a job does, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// How many pictures are computed at once where there is room; at least 1. The pipeline must be able to do fewer.
    pub together: u32,
    /// The phases in their order. Those of one kind that follow each other are entered as one, whose working memory is
    /// the first one's.
    pub phases: Vec<Phase>,
}

/// One thing after the other that a job does.
#[derive(Debug, Clone)]
pub struct Phase {
    /// What is done.
    pub kind: PhaseKind,
    /// The networks that it leases.
    pub needs: Vec<Need>,
    /// What computing takes.
    pub working: Working,
    /// What computing takes when it is done in tiles, where that can be.
    pub tiled: Option<Working>,
}

/// What a phase does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PhaseKind {
    /// Prompts become states.
    EncodeText,
    /// A picture that was given becomes latents.
    EncodePicture,
    /// Noise becomes latents.
    Denoise,
    /// Latents become a picture.
    Decode,
}

impl PhaseKind {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::EncodeText => "encoding the text",
            Self::EncodePicture => "encoding the given picture",
            Self::Denoise => "a denoising step",
            Self::Decode => "decoding the picture",
        }
    }
}

/// A network that is needed, from [`super::Pool::need`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub(super) key: Key,
    pub(super) class: String,
    pub(super) kind: Kind,
    /// Bytes of the device's own memory that it takes.
    pub bytes: u64,
    /// Bytes of it that are views of a file.
    pub mapped: u64,
}

/// Bytes that computing takes beside the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Working {
    /// However many pictures.
    pub fixed: u64,
    /// For each picture that is computed at once.
    pub each: u64,
}

impl Working {
    /// For each picture, and nothing else.
    pub fn each(bytes: u64) -> Self {
        Self { fixed: 0, each: bytes }
    }

    /// For this many pictures at once.
    pub fn of(self, pictures: u32) -> u64 {
        self.fixed.saturating_add(self.each.saturating_mul(u64::from(pictures)))
    }
}

/// How a job is done, from the most comfortable to the most frugal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thrift {
    /// Pictures that are computed at once.
    pub together: u32,
    /// Whether all networks stay from the first phase to the last.
    pub keeps: bool,
    /// Whether what can be done in tiles is.
    pub tiled: bool,
}

impl Plan {
    /// All networks with their bytes, each once.
    pub(super) fn needs(&self) -> BTreeMap<Key, u64> {
        self.phases.iter().flat_map(|phase| &phase.needs).map(|need| (need.key, need.bytes)).collect()
    }

    /// The ways to do it, in the order in which they are tried: what changes nothing in the picture comes first, and
    /// tiles, whose seams can be seen by who looks for them, last.
    pub(super) fn ways(&self) -> impl Iterator<Item = Thrift> + use<> {
        let together = self.together.max(1);
        let halved = std::iter::successors(Some(together), |n| (*n > 1).then_some(n / 2));
        let tiles = if self.phases.iter().any(|phase| phase.tiled.is_some()) { vec![false, true] } else { vec![false] };
        let few = vec![1];
        let whole = halved.map(|together| Thrift { together, keeps: true, tiled: false });
        let rest = few.into_iter().flat_map(move |together| {
            let tiles = tiles.clone();
            tiles.into_iter().map(move |tiled| Thrift { together, keeps: false, tiled })
        });
        whole.chain(rest)
    }

    /// The most bytes that it takes at once, and the phase that takes them. `working` corrects the estimate of a phase.
    pub(super) fn peak(&self, thrift: Thrift, working: impl Fn(&Phase, u64) -> u64) -> (u64, Option<PhaseKind>) {
        let sum = |needs: &BTreeMap<Key, u64>| needs.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        let all = sum(&self.needs());
        let of_phase = |phase: &Phase| {
            let weights =
                if thrift.keeps { all } else { sum(&phase.needs.iter().map(|need| (need.key, need.bytes)).collect()) };
            weights.saturating_add(working(phase, phase.computing(thrift)))
        };
        self.phases
            .iter()
            .map(|phase| (of_phase(phase), Some(phase.kind)))
            .max_by_key(|(bytes, _)| *bytes)
            .unwrap_or((all, None))
    }
}

impl Phase {
    /// Bytes that computing takes, as estimated.
    pub(super) fn computing(&self, thrift: Thrift) -> u64 {
        let working = if thrift.tiled { self.tiled.unwrap_or(self.working) } else { self.working };
        working.of(thrift.together)
    }

    /// The class of the network that does most of it.
    pub(super) fn class(&self) -> &str {
        self.needs.iter().max_by_key(|need| need.bytes).map_or("", |need| &need.class)
    }
}
