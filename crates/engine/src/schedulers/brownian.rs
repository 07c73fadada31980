//! The tree of a Brownian motion as torchsde lays it (`BrownianInterval` with a halfway tree): which pieces a stretch of time
//! is made of, and from which seed the noise of each split is drawn. Plain numbers; the noise itself is the pipelines'.

/// A motion over a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tree {
    seed: u64,
    start: f64,
    end: f64,
}

/// A piece of the motion: half of a half of a half … of the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    start: f64,
    end: f64,
    key: u64,
    depth: u64,
}

/// How a piece is split: `left = share · whole + deviation · unit noise`, and the right is the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// The seed of the noise.
    pub seed: u64,
    /// How long the left half is.
    pub left_length: f64,
    /// One over the length of the whole.
    pub per_length: f64,
    /// The weight of the noise.
    pub deviation: f64,
    /// The halves.
    pub halves: [Piece; 2],
}

impl Tree {
    /// The motion of a seed from one time to a later one.
    pub fn new(seed: u64, start: f64, end: f64) -> Self {
        Self { seed, start, end }
    }

    /// All of it.
    pub fn whole(&self) -> Piece {
        Piece { start: rounded(self.start), end: rounded(self.end), key: 0, depth: 0 }
    }

    /// The seed of its unit noise, and what that is multiplied by.
    pub fn whole_noise(&self) -> (u64, f64) {
        (seed_of(self.seed, &[]), (self.end - self.start).sqrt())
    }

    /// A stretch of time, earlier end first, as the tree counts it.
    pub fn stretch(&self, from: f64, to: f64) -> (f64, f64) {
        let whole = self.whole();
        let within = |time: f64| rounded(time.clamp(whole.start, whole.end));
        (within(from.min(to)), within(from.max(to)))
    }

    /// The halves of a piece.
    pub fn split(&self, piece: Piece) -> Split {
        let middle = rounded(0.5 * (piece.end + piece.start));
        let (left, right) = (middle - piece.start, piece.end - middle);
        let per_length = 1.0 / (piece.end - piece.start);
        let half = |start, end, key| Piece { start, end, key, depth: piece.depth + 1 };
        Split {
            seed: seed_of(self.seed, &[piece.key, piece.depth]),
            left_length: left,
            per_length,
            deviation: (left * right * per_length).sqrt(),
            halves: [half(piece.start, middle, 2 * piece.key), half(middle, piece.end, 2 * piece.key + 1)],
        }
    }
}

impl Piece {
    /// Whether it is this stretch of time.
    #[expect(clippy::float_cmp, reason = "both are rounded to the same digits")]
    pub fn is(&self, (from, to): (f64, f64)) -> bool {
        self.start == from && self.end == to
    }

    /// What it has of a stretch of time.
    pub fn part(&self, (from, to): (f64, f64)) -> Option<(f64, f64)> {
        let part = (from.max(self.start), to.min(self.end));
        (part.0 < part.1).then_some(part)
    }

    /// Whether it cannot be halved any more.
    pub fn is_atom(&self) -> bool {
        self.end - self.start < 1.5e-6
    }
}

/// To six digits after the point, as the tolerance of diffusers' tree says.
fn rounded(time: f64) -> f64 {
    format!("{time:.6}").parse().unwrap_or(time)
}

/// How many words the entropy is pooled in, in diffusers' tree.
const POOL: usize = 24;

/// The first word that numpy's `SeedSequence(seed, spawn_key=…, pool_size=24)` generates: O'Neill's `seed_seq`, with the
/// constants of numpy's `bit_generator.pyx`.
fn seed_of(seed: u64, spawn_key: &[u64]) -> u64 {
    let mut entropy: Vec<u32> = words(seed).collect();
    if !spawn_key.is_empty() {
        entropy.resize(POOL, 0);
        entropy.extend(spawn_key.iter().flat_map(|&key| words(key)));
    }
    let mut constant = 0x43b0_d7e5_u32;
    let mut hashed = |word: u32| {
        let word = word ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let word = word.wrapping_mul(constant);
        word ^ (word >> 16)
    };
    let mut pool: Vec<u32> = (0..POOL).map(|i| hashed(entropy.get(i).copied().unwrap_or(0))).collect();
    for from in 0..POOL {
        for to in (0..POOL).filter(|&to| to != from) {
            if let (Some(&x), Some(&y)) = (pool.get(to), pool.get(from))
                && let Some(slot) = pool.get_mut(to)
            {
                *slot = mixed(x, hashed(y));
            }
        }
    }
    for &word in entropy.iter().skip(POOL) {
        for slot in &mut pool {
            *slot = mixed(*slot, hashed(word));
        }
    }
    let first = pool.first().copied().unwrap_or(0) ^ 0x8b51_f9dd;
    let first = first.wrapping_mul(0x8b51_f9dd_u32.wrapping_mul(0x58f3_8ded));
    u64::from(first ^ (first >> 16))
}

/// The lower half of a number and, where there is something in it, the upper.
#[expect(clippy::cast_possible_truncation, reason = "the halves of it")]
fn words(number: u64) -> impl Iterator<Item = u32> {
    let upper = (number >> 32) as u32;
    std::iter::once(number as u32).chain((upper != 0).then_some(upper))
}

fn mixed(x: u32, y: u32) -> u32 {
    let mixed = 0xca01_f9dd_u32.wrapping_mul(x).wrapping_sub(0x4973_f715_u32.wrapping_mul(y));
    mixed ^ (mixed >> 16)
}

#[cfg(test)]
mod tests {
    use super::{Tree, rounded, seed_of};

    /// From numpy 2: `np.random.SeedSequence(entropy=…, spawn_key=…, pool_size=24).generate_state(1)`.
    #[test]
    fn seeds_are_those_of_numpy() {
        assert_eq!(seed_of(0, &[]), 4_025_752_534);
        assert_eq!(seed_of(7, &[]), 1_376_543_887);
        assert_eq!(seed_of(7, &[0, 0]), 261_727_054);
        assert_eq!(seed_of(7, &[5, 3]), 1_167_487_741);
        assert_eq!(seed_of(123_456_789_012_345, &[1, 1]), 3_071_340_916);
        assert_eq!(seed_of(42, &[8_589_934_597, 34]), 2_119_899_827);
        assert_eq!(seed_of(42, &[16_777_215, 24]), 1_138_894_809);
    }

    #[test]
    fn halves_meet_in_the_middle() {
        let tree = Tree::new(7, 0.029_167_5, 14.614_642);
        let split = tree.split(tree.whole());
        let [left, right] = split.halves;
        assert!(left.is((rounded(0.029_167_5), left.end)) && right.is((left.end, rounded(14.614_642))));
        assert_eq!((left.key, right.key, right.depth), (0, 1, 1));
    }
}
