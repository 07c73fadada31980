//! diffusers' `DPMSolverMultistepScheduler`: each step looks back at the estimates of the steps before it.

use super::betas::Training;
use super::dpm::{self, Curve, Dpm, Rule};
use super::levels::{self, Levels};
use super::step::{Line, Register, Step};
use super::{Ask, Schedule, Solver, flow_match, spacing};
use crate::Result;
use crate::config::scheduler::{BetaSchedule, Class, FinalSigmas, Keys, Respacing};

use Register::{Local, Past, Sample};

/// Schedules of fewer steps than this end in lower orders.
const FEW: usize = 15;

#[derive(Debug)]
struct Multistep {
    dpm: Dpm,
    runs: usize,
    order: u32,
    lower_order_final: bool,
    /// Whether the last step is of first order however many steps there are.
    ends_flat: bool,
}

/// The schedule that is asked for.
pub fn schedule(keys: &Keys, ask: &Ask) -> Result<Schedule> {
    const CLASS: Class = Class::DpmSolverMultistep;
    let steps = ask.steps as usize;
    let training = Training::new(CLASS, keys, true).check()?;
    let whole = |timesteps: Vec<f64>, rounds: bool| -> Vec<f64> {
        let rounded = |t: f64| if rounds { t.round_ties_even() } else { t.trunc() };
        timesteps.into_iter().map(rounded).collect()
    };
    let rounds = keys.beta_schedule != Some(BetaSchedule::SquaredcosCapV2);
    let flow = keys.use_flow_sigmas.unwrap_or(false);
    let (sigmas, timesteps) = match keys.respacing() {
        Some(Respacing::Karras) => {
            let (sigmas, timesteps) = levels::respaced(Respacing::Karras, keys, &training, steps)?;
            (sigmas, whole(timesteps, rounds))
        }
        _ if keys.use_lu_lambdas == Some(true) => {
            let (sigmas, timesteps) = dpm::lu(&training, steps);
            (sigmas, whole(timesteps, rounds))
        }
        Some(rule) => {
            let (sigmas, timesteps) = levels::respaced(rule, keys, &training, steps)?;
            (sigmas, whole(timesteps, false))
        }
        None if flow => {
            let (sigmas, timesteps) = dpm::flow(keys, flow_match::shift_mu(keys, ask)?, steps);
            (sigmas, whole(timesteps, false))
        }
        None => {
            let last = keys.train().saturating_sub(dpm::clipped(keys, &training));
            let timesteps = spacing::without_last(keys, last, steps);
            (levels::of_training(&timesteps, &training), timesteps)
        }
    };
    let levels = Levels::new(sigmas, levels::last_of_training(keys, &training), flow);
    let lower_order_final = keys.lower_order_final.unwrap_or(true);
    let few = timesteps.len() < FEW;
    Ok(Schedule {
        class: CLASS,
        asked: ask.steps,
        runs_per_step: 1,
        init_noise_sigma: 1.0,
        sigmas: levels.sigmas.iter().copied().map(f64::from).collect(),
        noising: levels.noising(),
        solver: Box::new(Multistep {
            dpm: Dpm::new(CLASS, keys, levels)?,
            runs: timesteps.len(),
            order: keys.solver_order.unwrap_or(2),
            lower_order_final: lower_order_final && few,
            ends_flat: keys.euler_at_final.unwrap_or(false)
                || (lower_order_final && few)
                || keys.final_sigmas_type.unwrap_or(FinalSigmas::Zero) == FinalSigmas::Zero,
        }),
        timesteps,
    })
}

impl Multistep {
    /// The order of run `i`, of which `before` have been made.
    fn order(&self, i: usize, before: usize) -> u32 {
        if self.order == 1 || before < 1 || (i + 1 == self.runs && self.ends_flat) {
            1
        } else if self.order == 2 || before < 2 || (i + 2 == self.runs && self.lower_order_final) {
            2
        } else {
            3
        }
    }

    fn curve(&self, i: usize, order: u32) -> Curve {
        let mut curve = Curve::flat(Past(0));
        if order == 1 {
            return curve;
        }
        let h = self.dpm.distance(i, i + 1);
        let r0 = self.dpm.distance(i - 1, i) / h;
        curve.lines.push(dpm::difference(0, Past(0), Past(1), 1.0 / r0));
        curve.slope = Some((Local(0), self.dpm.rule()));
        if order == 3 {
            let r1 = self.dpm.distance(i - 2, i - 1) / h;
            curve.lines.extend([
                dpm::difference(1, Past(1), Past(2), 1.0 / r1),
                dpm::difference(2, Local(0), Local(1), 1.0),
                Line::sum(Local(3), &[(1.0, Local(0)), (f64::from(r0 / (r0 + r1)), Local(2))]),
                Line::copy(Local(4), Local(2)).times(f64::from(1.0 / (r0 + r1))),
            ]);
            curve.slope = Some((Local(3), Rule::Heun));
            curve.bend = Some(Local(4));
        }
        curve
    }
}

impl Solver for Multistep {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let step = |i: usize| {
            let order = self.order(i, i - begin);
            if order == 3 {
                self.dpm.check_third()?;
            }
            Ok(dpm::step(self.dpm.estimate(i), self.dpm.advance(i, i + 1, Sample, self.curve(i, order))))
        };
        (begin..self.runs).map(step).collect()
    }
}
