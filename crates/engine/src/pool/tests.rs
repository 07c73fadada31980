//! The shelf on a device that is a number: whatever is asked, loaded, dropped, refused or broken, in any order.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::shelf::{Failure, Hold, Loaded, Room, Shelf};

/// A device that is a number of bytes.
#[derive(Default)]
struct Device {
    budget: Cell<u64>,
    used: Cell<u64>,
    working: Cell<u64>,
}

/// Bytes of it.
struct Buffer {
    device: Rc<Device>,
    bytes: u64,
    /// Which load made it.
    load: u64,
    /// What it uses itself, as an adapted network uses the plain one.
    below: Option<Hold<u32, Buffer>>,
}

impl Device {
    /// Takes bytes as a load does that keeps to its estimate.
    fn take(self: &Rc<Self>, bytes: u64, load: u64) -> Buffer {
        let buffer = self.take_too_much(bytes, load);
        let all = self.used.get() + self.working.get();
        assert!(bytes == 0 || all <= self.budget.get(), "{all} of {} bytes are used", self.budget.get());
        buffer
    }

    fn take_too_much(self: &Rc<Self>, bytes: u64, load: u64) -> Buffer {
        self.used.set(self.used.get() + bytes);
        Buffer { device: Rc::clone(self), bytes, load, below: None }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.device.used.set(self.device.used.get() - self.bytes);
    }
}

/// Numbers that look random: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

const KEYS: u64 = 12;

/// A shelf, and what is known of it from outside.
struct Play {
    device: Rc<Device>,
    shelf: Rc<Shelf<u32, Buffer>>,
    holds: Vec<Hold<u32, Buffer>>,
    rooms: Vec<(Room<u32, Buffer>, u64)>,
    dice: Dice,
    loads: u64,
    /// What happened, so that the play is seen to reach it.
    seen: BTreeMap<&'static str, u64>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let device = Rc::new(Device::default());
        device.budget.set(1000);
        let limit = Rc::clone(&device);
        let shelf = Shelf::new(Box::new(move |_| limit.budget.get()));
        Self { device, shelf, holds: vec![], rooms: vec![], dice: Dice(seed), loads: 0, seen: BTreeMap::new() }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn keys(&self) -> Vec<u32> {
        self.shelf.with(|ledger| ledger.entries().map(|(key, _)| key).collect())
    }

    /// Leases a thing; its loading may fail, panic, use another thing, or take more than was said.
    fn lease(&mut self) {
        let key = u32::try_from(self.dice.roll(KEYS)).unwrap();
        let before = self.keys();
        let (was_there, used) = (before.contains(&key), self.shelf.with(super::ledger::Ledger::used));
        let estimate = self.dice.roll(400);
        let less = self.dice.roll(estimate + 1);
        let course = self.dice.roll(12);
        let lower = u32::try_from(self.dice.roll(KEYS)).unwrap();
        self.loads += 1;
        let (device, things, load) = (Rc::clone(&self.device), Rc::clone(&self.shelf), self.loads);
        let called = Cell::new(false);
        let loading = || {
            called.set(true);
            assert!(!was_there, "what is there is loaded again");
            let loaded = |value: Buffer| Ok(Loaded { bytes: value.bytes, mapped: 7, value });
            match course {
                0 => Err("before anything"),
                1 => {
                    let _half = device.take(estimate / 2, load);
                    Err("in the middle")
                }
                2 => {
                    let _half = device.take(estimate / 2, load);
                    panic!("in the middle");
                }
                3 => match things.lease(key, 1, || Err("twice")) {
                    Err(Failure::Loading) => Err("it uses itself"),
                    _ => panic!("a thing is loaded while it is loaded"),
                },
                4 => loaded(device.take_too_much(estimate + 50, load)),
                5 => {
                    let plain = || Ok::<_, &str>(Loaded { value: device.take(30, load), bytes: 30, mapped: 0 });
                    let Ok(hold) = things.lease(lower, 30, plain) else {
                        return Err("what it uses does not fit");
                    };
                    let mut value = device.take(less, load);
                    value.below = Some(hold);
                    loaded(value)
                }
                6 => loaded(device.take(0, load)),
                _ => loaded(device.take(less, load)),
            }
        };
        let result = catch_unwind(AssertUnwindSafe(|| self.shelf.lease(key, estimate, loading)));
        let after = self.keys();
        match result {
            Ok(Ok(hold)) => {
                assert_eq!(called.get(), !was_there);
                assert!(called.get() == (hold.load == load), "another thing was handed out");
                self.holds.push(hold);
                self.note(if was_there { "hit" } else { "load" });
            }
            Ok(Err(Failure::Shortage(shortage))) if !called.get() => {
                assert_eq!(before, after, "something left for what did not come");
                assert!(shortage.free < shortage.needed, "{shortage:?} is none");
                assert_eq!(used, self.shelf.with(super::ledger::Ledger::used));
                self.note("shortage");
            }
            failed => {
                assert!(called.get() && !after.contains(&key), "what failed is still there");
                self.note(match failed {
                    Ok(Err(Failure::Shortage(_))) => "more than was said",
                    Ok(_) => "failure",
                    Err(_) => "panic",
                });
            }
        }
    }

    fn turn(&mut self) {
        let some = usize::try_from(self.dice.roll(1 << 20)).unwrap();
        let key = u32::try_from(self.dice.roll(KEYS)).unwrap();
        match self.dice.roll(20) {
            0..=7 if self.holds.len() < 6 => self.lease(),
            0..=13 if !self.holds.is_empty() => drop(self.holds.swap_remove(some % self.holds.len())),
            14 => {
                let bytes = self.dice.roll(500);
                match self.shelf.room(bytes) {
                    Ok(room) => {
                        self.device.working.set(self.device.working.get() + bytes);
                        self.rooms.push((room, bytes));
                        self.note("room");
                    }
                    Err(_) => self.note("no room"),
                }
            }
            15 if !self.rooms.is_empty() => {
                let (room, bytes) = self.rooms.swap_remove(some % self.rooms.len());
                drop(room);
                self.device.working.set(self.device.working.get() - bytes);
            }
            16 => self.shelf.pin(key, some.is_multiple_of(3)),
            17 => self.shelf.evict(key),
            18 if some.is_multiple_of(10) => self.shelf.evict_idle(),
            18 => self.shelf.want([key, key / 2]),
            19 if some.is_multiple_of(10) => self.device.budget.set(600 + self.dice.roll(800)),
            _ => {}
        }
        self.check();
    }

    /// What must be so at any time.
    fn check(&self) {
        let mut leases = BTreeMap::<u32, u32>::new();
        for hold in &self.holds {
            *leases.entry(hold.key()).or_default() += 1;
        }
        self.shelf.with(|ledger| {
            let mut held = 0;
            for (key, entry) in ledger.entries() {
                held += entry.bytes;
                assert!(!entry.loading, "nothing is being loaded");
                let outside = leases.remove(&key).unwrap_or_default();
                assert!(entry.leases >= outside, "a lease is not counted");
                assert!(!entry.doomed || entry.leases > 0, "what should leave stays without a lease");
            }
            assert!(leases.is_empty(), "a lease lost its thing: {leases:?}");
            assert_eq!(held, self.device.used.get(), "the books and the device disagree");
            assert_eq!(ledger.working(), self.device.working.get());
            assert_eq!(ledger.used(), held + ledger.working());
        });
    }

    /// Everything is given back.
    fn end(mut self) -> BTreeMap<&'static str, u64> {
        self.holds.clear();
        self.rooms.clear();
        (0..u32::try_from(KEYS).unwrap()).for_each(|key| self.shelf.pin(key, false));
        // What another thing uses leaves after it.
        for _ in 0..KEYS {
            self.shelf.evict_idle();
        }
        assert_eq!((self.device.used.get(), self.shelf.with(super::ledger::Ledger::used)), (0, 0));
        assert_eq!(self.keys(), [0; 0]);
        self.seen
    }
}

#[test]
fn whatever_happens_the_books_are_right() {
    #[expect(clippy::disallowed_methods, reason = "the environment says how long tests may take")]
    let long = std::env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long");
    let (plays, turns) = if long { (100, 10_000) } else { (10, 2_000) };
    // The panics are the test's own.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let played = catch_unwind(|| {
        let mut seen = BTreeMap::<&str, u64>::new();
        for seed in 0..plays {
            let mut play = Play::new(seed);
            for turn in 0..turns {
                let turned = catch_unwind(AssertUnwindSafe(|| play.turn()));
                assert!(turned.is_ok(), "seed {seed}, turn {turn}: {}", text(turned));
            }
            play.end().into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times);
        }
        seen
    });
    std::panic::set_hook(hook);
    let seen = match played {
        Ok(seen) => seen,
        Err(panic) => panic!("{}", text(Err(panic))),
    };
    println!("report: {} operations on a fake device: {seen:?}", plays * turns);
    let reached = ["hit", "load", "shortage", "failure", "panic", "room", "no room", "more than was said"];
    assert!(reached.iter().all(|what| seen.get(what).is_some_and(|times| *times > 10)), "{seen:?}");
}

fn text(result: std::thread::Result<()>) -> String {
    let Err(panic) = result else { return String::new() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[test]
fn a_lease_of_what_was_given_up_keeps_it_and_the_next_one_loads_anew() {
    let device = Rc::new(Device::default());
    device.budget.set(100);
    let shelf: Rc<Shelf<u32, Buffer>> = Shelf::new(Box::new(|_| 100));
    let lease = |load| {
        let device = Rc::clone(&device);
        shelf.lease(1, 60, move || Ok::<_, ()>(Loaded { value: device.take(60, load), bytes: 60, mapped: 0 })).unwrap()
    };
    let first = lease(1);
    shelf.evict(1);
    assert_eq!((first.load, lease(2).load), (1, 1));
    drop(first);
    assert_eq!(device.used.get(), 0);
    assert_eq!(lease(3).load, 3);
}

#[test]
fn what_is_dear_to_load_outlives_what_is_cheap() {
    let device = Rc::new(Device::default());
    device.budget.set(100);
    let shelf: Rc<Shelf<u32, Buffer>> = Shelf::new(Box::new(|_| 100));
    let lease = |key, seconds| {
        let device = Rc::clone(&device);
        let load = move || {
            std::thread::sleep(std::time::Duration::from_millis(seconds));
            Ok::<_, ()>(Loaded { value: device.take(40, 0), bytes: 40, mapped: 0 })
        };
        drop(shelf.lease(key, 40, load).unwrap());
    };
    lease(1, 60);
    lease(2, 5);
    lease(3, 5);
    let keys: Vec<u32> = shelf.with(|ledger| ledger.entries().map(|(key, _)| key).collect());
    assert_eq!(keys, [1, 3], "2 was used later than 1, but costs little to bring back");
}
