//! Whether a job fits before its first step, and how; and if it does not, what would.

use easel_engine_protocol::EngineErrorKind;
use tch::{Device, Kind};

use super::computing::Computing;
use super::plan::{Phase, PhaseKind, Plan, Thrift, Wish};
use super::{Pool, report};
use crate::{Error, Result};

/// Sides of smaller pictures that are proposed are a multiple of this.
const SIDE: u32 = 64;

/// How a job may be done.
#[derive(Debug)]
pub struct Admission {
    pool: Pool,
    plan: Plan,
    thrift: Thrift,
    warning: Option<String>,
}

impl Admission {
    /// How many pictures may be computed at once, at least 1.
    pub fn together(&self) -> u32 {
        self.thrift.together
    }

    /// Whether pictures are to be encoded and decoded in tiles.
    pub fn tiled(&self) -> bool {
        self.thrift.tiled
    }

    /// What should be said of it.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Begins a phase: memory for its computing is set aside until what this gives is dropped, and networks that are not
    /// leased leave for it if they must. The phase's networks should be leased by then, and no others.
    pub fn enter(&self, kind: PhaseKind) -> Result<Computing> {
        let Some(at) = self.plan.phases.iter().position(|phase| phase.kind == kind) else {
            return Err(Error::internal(format!("{} was not planned", kind.words())));
        };
        // What this phase and those after it need leaves last.
        let needed = self.plan.phases.get(at..).unwrap_or_default().iter().flat_map(|phase| &phase.needs);
        self.pool.shelf.want(needed.map(|need| need.key));
        let phase = self.plan.phases.get(at).ok_or_else(|| Error::internal("a phase is gone"))?;
        self.rest_others(kind);
        Computing::begin(&self.pool, phase, self.thrift)
    }

    /// What the phases before have left in memory, and no phase of this kind looks at, goes back to the system: pages of
    /// files, which are back at the price of a fault, and working memory that is kept for shapes of other networks.
    fn rest_others(&self, kind: PhaseKind) {
        let phases = self.plan.phases.iter().filter(|phase| phase.kind == kind);
        let needs: Vec<_> = phases.flat_map(|phase| &phase.needs).map(|need| need.key).collect();
        self.pool.shelf.each_idle(|key| needs.contains(&key), |built| built.pages.forget());
        self.pool.rest();
    }
}

impl Pool {
    /// How the job may be done that `plan` plans for what is asked. The first way that fits is taken: as it is, with
    /// fewer pictures at once, with networks that leave once their phase is over, in tiles. When none fits, it is refused
    /// with what would.
    pub fn admit(&self, wish: Wish, plan: &dyn Fn(Wish) -> Result<Plan>) -> Result<Admission> {
        let planned = plan(wish)?;
        let free = self.free_for(&planned);
        let strained = self.strained.take();
        let fits = |plan: &Plan, thrift| self.peak(plan, thrift).0 <= free;
        let way = if strained { planned.ways().last() } else { planned.ways().find(|way| fits(&planned, *way)) };
        self.refused.set(false);
        match way {
            Some(thrift) if !strained || fits(&planned, thrift) => {
                let warning = self.warning(&planned, thrift);
                self.shelf.want(planned.needs().into_keys());
                Ok(Admission { pool: self.clone(), plan: planned, thrift, warning })
            }
            _ => {
                self.refused.set(true);
                Err(self.refusal(wish, &planned, free, plan))
            }
        }
    }

    /// Bytes that a job could have, its own networks being there or not.
    fn free_for(&self, plan: &Plan) -> u64 {
        let own = plan.needs();
        let fixed = self.shelf.with(|ledger| ledger.fixed(|key| own.contains_key(&key)));
        self.shelf.limit().saturating_sub(fixed)
    }

    fn peak(&self, plan: &Plan, thrift: Thrift) -> (u64, Option<PhaseKind>) {
        let learned = self.learned.borrow();
        plan.peak(thrift, |phase, bytes| learned.correct(&phase.subject(), bytes))
    }

    /// The least that a plan can do with.
    fn least(&self, plan: &Plan) -> (u64, Option<PhaseKind>) {
        plan.ways().map(|way| self.peak(plan, way)).min_by_key(|(bytes, _)| *bytes).unwrap_or_default()
    }

    fn warning(&self, plan: &Plan, thrift: Thrift) -> Option<String> {
        if thrift.tiled {
            return Some("memory is scarce: the picture is decoded in tiles, which can show at their seams".to_owned());
        }
        // Pages of files count as free, but a step that reads all of them reads them from the disk when they do not fit.
        let pages = |phase: &Phase| phase.needs.iter().map(|need| need.mapped).sum::<u64>();
        let mapped = plan.phases.iter().map(pages).max().unwrap_or_default();
        let needed = self.peak(plan, thrift).0.saturating_add(mapped);
        let limit = self.shelf.limit();
        (self.device == Device::Cpu && mapped > 0 && needed > limit).then(|| {
            let (mapped, limit) = (report::size(mapped), report::size(limit));
            format!("memory is scarce: the weights are {mapped} of files and {limit} are free, so they are read again and again")
        })
    }

    fn refusal(&self, wish: Wish, planned: &Plan, free: u64, plan: &dyn Fn(Wish) -> Result<Plan>) -> Error {
        let (needed, phase) = self.least(planned);
        let Wish { width, height, pictures, kind } = wish;
        let what = if pictures == 1 { "a picture".to_owned() } else { format!("{pictures} pictures") };
        let during = phase.map_or(String::new(), |phase| format!(" for {}", phase.words()));
        let device = report::device(self.device);
        let message = format!(
            "{what} of {width}x{height} needs {}{during} on {device}, {} can be made free",
            report::size(needed),
            report::size(free)
        );
        let needs = |wish| plan(wish).ok().map(|plan| self.least(&plan).0).filter(|needed| *needed <= free);
        let mut would = Vec::new();
        let one = Wish { pictures: 1, ..wish };
        if let Some(bytes) = (pictures > 1).then(|| needs(one)).flatten() {
            would.push(format!("ask for one at a time, which needs {}", report::size(bytes)));
        }
        let brief = Wish { kind: Kind::BFloat16, ..wish };
        if let Some(bytes) = (kind == Kind::Float).then(|| needs(brief)).flatten() {
            would.push(format!("compute in bf16, which needs {}", report::size(bytes)));
        }
        let smaller = (1..16).rev().map(|n| Wish { width: part(width, n), height: part(height, n), ..wish });
        let mut smaller = smaller.filter(|wish| (wish.width, wish.height) != (width, height));
        if let Some((wish, bytes)) = smaller.find_map(|wish| Some((wish, needs(wish)?))) {
            would.push(format!("ask for {}x{}, which needs {}", wish.width, wish.height, report::size(bytes)));
        }
        let hint = if would.is_empty() {
            format!("give the engine more memory on {device}, or use a smaller model")
        } else {
            would.join(", or ")
        };
        Error::new(EngineErrorKind::OutOfMemory, message).with_hint(hint)
    }
}

/// So many sixteenths of a side, on the grid.
fn part(side: u32, n: u32) -> u32 {
    let part = side / 16 * n;
    if part < SIDE { side.min(part.max(8) / 8 * 8) } else { part / SIDE * SIDE }
}
