//! How far the estimates of working memory are off, learnt from what was measured. Kept in memory only.

use std::collections::{HashMap, VecDeque};

use tch::Kind;

use super::plan::PhaseKind;

/// What an estimate is for: which phase, by which class of network, in which numbers.
pub(super) type Subject = (PhaseKind, String, Kind);

/// Measurements that are kept for each; the largest of them counts.
const KEPT: usize = 8;
/// An estimate is never corrected further than this, whatever was measured.
const BOUNDS: (f64, f64) = (0.5, 4.0);
/// What is added to a measurement: the next one may be larger.
const CAUTION: f64 = 1.1;
/// Below this, what allocators keep for later says more than what was computed.
const LEAST: u64 = 32 << 20;

/// What was measured, as parts of what was estimated.
#[derive(Debug, Default)]
pub(super) struct Learned {
    measured: HashMap<Subject, VecDeque<f64>>,
}

impl Learned {
    /// An estimate, corrected.
    pub fn correct(&self, subject: &Subject, estimate: u64) -> u64 {
        scale(estimate, self.factor(subject))
    }

    /// What estimates are multiplied by.
    pub fn factor(&self, subject: &Subject) -> f64 {
        let largest = self.measured.get(subject).and_then(|all| all.iter().copied().reduce(f64::max));
        largest.map_or(1.0, |largest| (largest * CAUTION).clamp(BOUNDS.0, BOUNDS.1))
    }

    /// `estimate`, before it was corrected, was `measured` in fact.
    pub fn note(&mut self, subject: Subject, estimate: u64, measured: u64) {
        if estimate < LEAST && measured < LEAST {
            return;
        }
        let all = self.measured.entry(subject).or_default();
        if all.len() == KEPT {
            all.pop_front();
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio needs no last digits")]
        all.push_back(measured as f64 / estimate.max(1) as f64);
    }
}

fn scale(bytes: u64, factor: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes are positive, and an estimate needs no last digits"
    )]
    let scaled = (bytes as f64 * factor) as u64;
    scaled
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::{Learned, PhaseKind};

    #[test]
    fn the_largest_measurement_counts_and_grows_old() {
        let mut learned = Learned::default();
        let subject = || (PhaseKind::Denoise, "UNet2DConditionModel".to_owned(), Kind::Float);
        let gigabyte = 1_u64 << 30;
        assert_eq!(learned.correct(&subject(), gigabyte), gigabyte);
        learned.note(subject(), gigabyte, 2 * gigabyte);
        learned.note(subject(), gigabyte, gigabyte / 2);
        assert!((learned.factor(&subject()) - 2.2).abs() < 1e-9);
        for _ in 0..8 {
            learned.note(subject(), gigabyte, gigabyte);
        }
        assert!((learned.factor(&subject()) - 1.1).abs() < 1e-9);
        let other = (PhaseKind::Decode, "AutoencoderKL".to_owned(), Kind::Float);
        assert_eq!(learned.correct(&other, gigabyte), gigabyte);
    }

    #[test]
    fn nothing_is_believed_without_bounds() {
        let mut learned = Learned::default();
        let subject = || (PhaseKind::Decode, "AutoencoderKL".to_owned(), Kind::Float);
        learned.note(subject(), 1 << 30, 1 << 40);
        assert_eq!(learned.correct(&subject(), 1 << 30), 4 << 30);
        let mut learned = Learned::default();
        learned.note(subject(), 1 << 30, 0);
        assert_eq!(learned.correct(&subject(), 1 << 30), 1 << 29);
        learned.note(subject(), 1 << 10, 1 << 20);
        assert_eq!(learned.correct(&subject(), 1 << 30), 1 << 29, "what is small says nothing");
    }
}
