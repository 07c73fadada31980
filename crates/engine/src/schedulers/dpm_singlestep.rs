//! diffusers' `DPMSolverSinglestepScheduler`: steps in groups of up to three, each group beginning anew from its own first
//! sample.

use super::betas::Training;
use super::dpm::{self, Curve, Dpm, Rule};
use super::levels::{self, Levels};
use super::step::{Line, Register, Step};
use super::{Ask, Schedule, Solver, flow_match, spacing};
use crate::Result;
use crate::config::scheduler::{Class, FinalSigmas, Keys, Respacing};

use Register::{Kept, Local, Past, Sample};

#[derive(Debug)]
struct Singlestep {
    dpm: Dpm,
    /// The order of each run: how many estimates of its group it looks at.
    orders: Vec<usize>,
}

/// The schedule that is asked for.
pub fn schedule(keys: &Keys, ask: &Ask) -> Result<Schedule> {
    const CLASS: Class = Class::DpmSolverSinglestep;
    let steps = ask.steps as usize;
    let training = Training::new(CLASS, keys, false).check()?;
    let flow = keys.use_flow_sigmas.unwrap_or(false);
    let (sigmas, timesteps): (Vec<f64>, Vec<f64>) = match keys.respacing() {
        Some(rule) => {
            let (sigmas, timesteps) = levels::respaced(rule, keys, &training, steps)?;
            let rounded = |t: f64| if rule == Respacing::Karras { t.round_ties_even() } else { t.trunc() };
            (sigmas, timesteps.into_iter().map(rounded).collect())
        }
        None if flow => {
            let (sigmas, timesteps) = dpm::flow(keys, flow_match::shift_mu(keys, ask)?, steps);
            (sigmas, timesteps.into_iter().map(f64::trunc).collect())
        }
        None => {
            let last = f64::from(keys.train()) - 1.0 - f64::from(dpm::clipped(keys, &training));
            let timesteps = spacing::points(last, steps);
            (levels::of_training(&timesteps, &training), timesteps)
        }
    };
    let levels = Levels::new(sigmas, levels::last_of_training(keys, &training), flow);
    Ok(Schedule {
        class: CLASS,
        asked: ask.steps,
        runs_per_step: 1,
        init_noise_sigma: 1.0,
        sigmas: levels.sigmas.iter().copied().map(f64::from).collect(),
        noising: levels.noising(),
        solver: Box::new(Singlestep { dpm: Dpm::new(CLASS, keys, levels)?, orders: orders(keys, steps) }),
        timesteps,
    })
}

/// The order of each run. A last group that does not come out even is filled with lower orders.
fn orders(keys: &Keys, steps: usize) -> Vec<usize> {
    let order = keys.solver_order.unwrap_or(2) as usize;
    let to_zero = keys.final_sigmas_type.unwrap_or(FinalSigmas::Zero) == FinalSigmas::Zero;
    let lowers = keys.lower_order_final.unwrap_or(false) || !steps.is_multiple_of(order) || to_zero;
    let mut orders: Vec<usize> = (0..steps).map(|i| i % order + 1).collect();
    if lowers
        && steps.is_multiple_of(order)
        && let Some(last) = orders.last_mut()
    {
        // With third order the last three are 1, 2, 1.
        *last = 1;
    }
    if to_zero && let Some(last) = orders.last_mut() {
        *last = 1;
    }
    orders
}

impl Singlestep {
    /// The estimate from the beginning of the group of run `i`.
    fn curve(&self, i: usize, order: usize) -> Curve {
        let from = i + 1 - order;
        let h = self.dpm.distance(from, i + 1);
        let mut curve = Curve::flat(Past(order - 1));
        if order == 2 {
            let r0 = self.dpm.distance(from, i) / h;
            curve.lines.push(dpm::difference(0, Past(0), Past(1), 1.0 / r0));
            curve.slope = Some((Local(0), self.dpm.rule()));
        } else if order == 3 {
            let (r0, r1) = (self.dpm.distance(from, i) / h, self.dpm.distance(from, i - 1) / h);
            curve.lines.push(dpm::difference(0, Past(1), Past(2), 1.0 / r1));
            curve.lines.push(dpm::difference(1, Past(0), Past(2), 1.0 / r0));
            match self.dpm.rule() {
                Rule::Midpoint => curve.slope = Some((Local(1), Rule::Heun)),
                Rule::Heun => {
                    let (first, second) = (f64::from(r0), f64::from(r1));
                    let apart = f64::from(r0 - r1);
                    curve.lines.extend([
                        Line::sum(Local(2), &[(first, Local(0)), (-second, Local(1))]).over(apart),
                        Line::sum(Local(3), &[(2.0, Local(1)), (-2.0, Local(0))]).over(apart),
                    ]);
                    curve.slope = Some((Local(2), Rule::Heun));
                    curve.bend = Some(Local(3));
                }
            }
        }
        curve
    }
}

impl Solver for Singlestep {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let step = |(i, &order): (usize, &usize)| {
            // A picture may begin in the middle of a group, which then has fewer estimates.
            let order = order.min(i - begin + 1);
            let mut advance = Vec::new();
            if order == 1 {
                advance.push(Line::copy(Kept(0), Sample));
            }
            advance.extend(self.dpm.advance(i + 1 - order, i + 1, Kept(0), self.curve(i, order)));
            dpm::step(self.dpm.estimate(i), advance)
        };
        Ok(self.orders.iter().enumerate().skip(begin).map(step).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::orders;
    use crate::config::scheduler::{FinalSigmas, Keys};

    /// `get_order_list` of diffusers 0.42.
    #[test]
    fn groups_end_as_in_diffusers() {
        let keys = |order, lowers, last| Keys {
            solver_order: Some(order),
            lower_order_final: Some(lowers),
            final_sigmas_type: Some(last),
            ..Keys::default()
        };
        let zero = FinalSigmas::Zero;
        assert_eq!(orders(&keys(3, true, zero), 6), [1, 2, 3, 1, 2, 1]);
        assert_eq!(orders(&keys(3, true, zero), 7), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(orders(&keys(3, true, zero), 8), [1, 2, 3, 1, 2, 3, 1, 1]);
        assert_eq!(orders(&keys(3, true, FinalSigmas::SigmaMin), 8), [1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(orders(&keys(2, false, zero), 4), [1, 2, 1, 1]);
        assert_eq!(orders(&keys(2, false, zero), 5), [1, 2, 1, 2, 1]);
        assert_eq!(orders(&keys(2, false, FinalSigmas::SigmaMin), 4), [1, 2, 1, 2]);
        assert_eq!(orders(&keys(3, false, FinalSigmas::SigmaMin), 6), [1, 2, 3, 1, 2, 3]);
    }
}
