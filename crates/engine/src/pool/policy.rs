//! Which of the things that nobody uses leave when room is needed. Numbers in, names out: it knows no tensor, no
//! clock and no device.

/// What speaks for keeping a thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing<K> {
    /// Which one.
    pub key: K,
    /// Bytes that come free when it leaves.
    pub bytes: u64,
    /// Whether the work at hand needs it once more.
    pub wanted: bool,
    /// Its worth, from [`worth`].
    pub worth: f64,
}

/// What a thing is worth at its latest use: the seconds per byte that bringing it back takes, times how often it was
/// used, above what the last one that had to leave was worth. The last summand makes what is not used any more grow
/// old (GreedyDual-Size-Frequency, Cherkasova 1998).
pub(super) fn worth(floor: f64, seconds: f64, bytes: u64, uses: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a worth needs no last digits")]
    let gibibytes = (bytes.max(1) as f64) / f64::from(1 << 30);
    floor + seconds.max(1e-3) * f64::from(uses.max(1)) / gibibytes
}

/// The cheapest of `standing` that free `needed` bytes together, or `None` when all of them do not. Those that the work
/// at hand needs once more go last.
pub(super) fn leaving<K: Copy>(mut standing: Vec<Standing<K>>, needed: u64) -> Option<Vec<Standing<K>>> {
    standing.retain(|one| one.bytes > 0);
    standing.sort_by(|a, b| a.wanted.cmp(&b.wanted).then(a.worth.total_cmp(&b.worth)));
    let mut freed = 0_u64;
    let mut chosen = Vec::new();
    for one in standing {
        if freed >= needed {
            break;
        }
        freed = freed.saturating_add(one.bytes);
        chosen.push(one);
    }
    if freed < needed {
        return None;
    }
    // The last one may have been so large that earlier ones need not leave; the dearest stay first.
    let mut kept = chosen.len();
    while kept > 0 {
        kept -= 1;
        let spare = chosen.get(kept).is_some_and(|one| freed - one.bytes >= needed);
        if spare {
            freed -= chosen.remove(kept).bytes;
        }
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::{Standing, leaving, worth};

    fn standing(key: u32, bytes: u64, wanted: bool, worth: f64) -> Standing<u32> {
        Standing { key, bytes, wanted, worth }
    }

    fn keys(of: &[Standing<u32>], needed: u64) -> Option<Vec<u32>> {
        leaving(of.to_vec(), needed).map(|chosen| chosen.iter().map(|one| one.key).collect())
    }

    #[test]
    fn the_cheapest_leave_first_and_no_more_than_needed() {
        let all = [standing(1, 10, false, 3.0), standing(2, 10, false, 1.0), standing(3, 100, false, 2.0)];
        assert_eq!(keys(&all, 0), Some(vec![]));
        assert_eq!(keys(&all, 10), Some(vec![2]));
        assert_eq!(keys(&all, 11), Some(vec![3]), "2 need not leave once 3 does");
        assert_eq!(keys(&all, 120), Some(vec![2, 3, 1]));
        assert_eq!(keys(&all, 121), None);
    }

    #[test]
    fn what_the_work_needs_goes_last() {
        let all = [standing(1, 10, true, 0.1), standing(2, 10, false, 9.0)];
        assert_eq!(keys(&all, 5), Some(vec![2]));
        assert_eq!(keys(&all, 20), Some(vec![2, 1]));
    }

    #[test]
    fn what_frees_nothing_stays() {
        assert_eq!(keys(&[standing(1, 0, false, 0.0), standing(2, 5, false, 1.0)], 5), Some(vec![2]));
    }

    #[test]
    fn dear_and_often_used_is_worth_more_and_age_catches_up() {
        assert!(worth(0.0, 2.0, 1 << 30, 1) > worth(0.0, 1.0, 1 << 30, 1));
        assert!(worth(0.0, 1.0, 1 << 30, 2) > worth(0.0, 1.0, 1 << 30, 1));
        assert!(worth(0.0, 1.0, 1 << 31, 1) < worth(0.0, 1.0, 1 << 30, 1));
        assert!(worth(5.0, 1.0, 1 << 30, 1) > worth(0.0, 2.0, 1 << 30, 2));
    }
}
