//! Follows a [`Schedule`] on latents: every line of a step in single precision, as diffusers does it. The only place that
//! applies schedules to tensors; it knows no class of them.

use std::collections::VecDeque;

use tch::{Device, Kind, Tensor};

use super::brownian::unit_increment;
use crate::schedulers::{Line, Register, Schedule, Step};
use crate::{Error, Result};

/// As many estimates as any class looks back.
const PAST: usize = 8;

/// Gives unit noise of the latents' shape, single precision: `(n, …)`, each picture's from its own generator.
pub type NoiseSource<'a> = dyn FnMut() -> Result<Tensor> + 'a;

/// The way of some latents through a schedule, all of them together: `(n, …)`.
///
/// Runs are counted from where it begins: 0 to `len`, each followed by one call of [`Sampler::step`], in order. Whatever
/// the network computes in, a step computes in single precision, and the next sample has the type of the network's output.
#[derive(Debug)]
pub struct Sampler<'a> {
    schedule: &'a Schedule,
    begin: usize,
    steps: Vec<Step>,
    made: usize,
    registers: Registers,
}

impl<'a> Sampler<'a> {
    /// Begins at run `begin` of the schedule: 0 for pure noise, [`Schedule::begin`] for a picture.
    pub fn new(schedule: &'a Schedule, begin: usize) -> Result<Self> {
        let steps = schedule.steps(begin)?;
        Ok(Self { schedule, begin, steps, made: 0, registers: Registers::default() })
    }

    /// How many times the network runs.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What the network is told as time at run `i`.
    pub fn timestep(&self, i: usize) -> Result<f64> {
        let timestep = self.schedule.timesteps().get(self.begin + i).copied();
        timestep.ok_or_else(|| self.beyond(i))
    }

    /// Unit noise times this is the first sample, when it begins with nothing else.
    pub fn init_noise_sigma(&self) -> f64 {
        self.schedule.init_noise_sigma()
    }

    /// The network's input at run `i`, in the latents' type.
    pub fn scale_input(&self, i: usize, latents: &Tensor) -> Result<Tensor> {
        let divisor = self.steps.get(i).ok_or_else(|| self.beyond(i))?.input_divisor;
        #[expect(clippy::float_cmp, reason = "exactly one: nothing is to be done")]
        let is_one = divisor == 1.0;
        Ok(if is_one { latents.shallow_clone() } else { latents.f_div_scalar(divisor)? })
    }

    /// Clean latents, made as noisy as run `i` expects: `add_noise` of diffusers (`scale_noise` of flow matching).
    pub fn add_noise(&self, i: usize, clean: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let share = self.schedule.noising(self.begin + i).ok_or_else(|| self.beyond(i))?;
        Ok(clean.f_mul_scalar(share.signal)?.f_add(&noise.f_mul_scalar(share.noise)?)?)
    }

    /// From the latents of run `i` and what the network said about them to the next latents. `noise` is asked at most
    /// once, and only by schedules that add noise.
    pub fn step(&mut self, i: usize, latents: &Tensor, output: &Tensor, noise: &mut NoiseSource<'_>) -> Result<Tensor> {
        let step = self.steps.get(i).filter(|_| i == self.made).ok_or_else(|| self.beyond(i))?;
        let registers = &mut self.registers;
        registers.begin(latents.f_totype(Kind::Float)?, output.f_totype(Kind::Float)?);
        for line in &step.lines {
            registers.follow(line, noise)?;
        }
        self.made += 1;
        let next = registers.next.take().ok_or_else(|| Error::internal("a step of the schedule leads nowhere"))?;
        Ok(next.f_totype(output.f_kind()?)?)
    }

    /// The estimate of the clean latents after the last step, single precision; `None` before the first.
    pub fn denoised(&mut self) -> Result<Option<Tensor>> {
        let Some(step) = self.made.checked_sub(1).and_then(|last| self.steps.get(last)) else {
            return Ok(None);
        };
        let mut no_noise = || Err(Error::internal("an estimate asked for noise"));
        for line in &step.preview {
            self.registers.follow(line, &mut no_noise)?;
        }
        Ok(self.registers.clean.as_ref().map(Tensor::shallow_clone))
    }

    fn beyond(&self, i: usize) -> Error {
        Error::internal(format!("run {i} of the schedule is not the next of {}", self.steps.len()))
    }
}

/// What the lines of a step read and write.
#[derive(Debug, Default)]
struct Registers {
    sample: Option<Tensor>,
    output: Option<Tensor>,
    clean: Option<Tensor>,
    guess: Option<Tensor>,
    fresh: Option<Tensor>,
    next: Option<Tensor>,
    local: Vec<Option<Tensor>>,
    kept: Vec<Option<Tensor>>,
    past: VecDeque<Tensor>,
}

impl Registers {
    fn begin(&mut self, sample: Tensor, output: Tensor) {
        self.sample = Some(sample);
        self.output = Some(output);
        (self.clean, self.guess, self.fresh, self.next) = (None, None, None, None);
        self.local.clear();
    }

    fn follow(&mut self, line: &Line, noise: &mut NoiseSource<'_>) -> Result<()> {
        match line {
            Line::Sum { into, terms, times, over } => {
                let sum = self.sum(terms, noise)?;
                let sum = if is_one(*times) { sum } else { sum.f_mul_scalar(*times)? };
                let sum = if is_one(*over) { sum } else { sum.f_div_scalar(*over)? };
                self.write(*into, sum);
            }
            Line::Increment { into, tree, times: (from, to) } => {
                let sample = self.read(Register::Sample)?;
                // The same for every picture, wherever it stands.
                let mut shape = sample.size();
                if let Some(pictures) = shape.first_mut() {
                    *pictures = 1;
                }
                let noise = unit_increment(tree, *from, *to, &shape)?;
                let noise = noise.f_to_device_(sample.device(), Kind::Float, false, false)?;
                self.write(*into, noise);
            }
            Line::Clamp(range) => {
                let clean = self.read(Register::Clean)?.f_clamp(-range, *range)?;
                self.clean = Some(clean);
            }
            Line::Threshold { ratio, most } => {
                let clean = threshold(self.read(Register::Clean)?, *ratio, *most)?;
                self.clean = Some(clean);
            }
        }
        Ok(())
    }

    /// A register whose factor is zero need not be there; where it is, it decides all the same how the numbers of the sum lie in
    /// memory. Fresh noise is left out then, and not drawn.
    fn sum(&mut self, terms: &[(f64, Register)], noise: &mut NoiseSource<'_>) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for &(factor, register) in terms {
            if factor == 0.0 && (register == Register::Fresh || self.read(register).is_err()) {
                continue;
            }
            if register == Register::Fresh && self.fresh.is_none() {
                let device = self.read(Register::Sample)?.device();
                self.fresh = Some(noise()?.f_to_device_(device, Kind::Float, false, false)?);
            }
            let value = self.read(register)?;
            let term = if is_one(factor) { value.shallow_clone() } else { value.f_mul_scalar(factor)? };
            sum = Some(match sum {
                None => term,
                Some(sum) => sum.f_add(&term)?,
            });
        }
        match sum {
            Some(sum) => Ok(sum),
            None => Ok(self.read(Register::Sample)?.f_zeros_like()?),
        }
    }

    fn read(&self, register: Register) -> Result<&Tensor> {
        let found = match register {
            Register::Sample => self.sample.as_ref(),
            Register::Output => self.output.as_ref(),
            Register::Clean => self.clean.as_ref(),
            Register::Guess => self.guess.as_ref(),
            Register::Fresh => self.fresh.as_ref(),
            Register::Next => self.next.as_ref(),
            Register::Local(n) => self.local.get(n).and_then(Option::as_ref),
            Register::Kept(n) => self.kept.get(n).and_then(Option::as_ref),
            Register::Past(n) => self.past.get(n),
        };
        found.ok_or_else(|| Error::internal(format!("a step of the schedule reads {register:?}, which is empty")))
    }

    fn write(&mut self, register: Register, value: Tensor) {
        match register {
            Register::Sample => self.sample = Some(value),
            Register::Output => self.output = Some(value),
            Register::Clean => self.clean = Some(value),
            Register::Guess => self.guess = Some(value),
            Register::Fresh => self.fresh = Some(value),
            Register::Next => self.next = Some(value),
            Register::Local(n) => put(&mut self.local, n, value),
            Register::Kept(n) => put(&mut self.kept, n, value),
            Register::Past(_) => {
                self.past.truncate(PAST - 1);
                self.past.push_front(value);
            }
        }
    }
}

fn put(slots: &mut Vec<Option<Tensor>>, n: usize, value: Tensor) {
    if slots.len() <= n {
        slots.resize_with(n + 1, || None);
    }
    if let Some(slot) = slots.get_mut(n) {
        *slot = Some(value);
    }
}

#[expect(clippy::float_cmp, reason = "exactly one: nothing is to be done")]
fn is_one(factor: f64) -> bool {
    factor == 1.0
}

/// Dynamic thresholding of each picture by itself.
fn threshold(clean: &Tensor, ratio: f64, most: f64) -> Result<Tensor> {
    let flat = clean.f_flatten(1, -1)?;
    // libtorch's own quantile refuses pictures of more than sixteen million numbers; no latents are that large.
    let limit = flat.f_abs()?.f_quantile_scalar(ratio, 1, true, "linear")?.f_clamp(1.0, most)?;
    let held = flat.f_maximum(&limit.f_neg()?)?.f_minimum(&limit)?;
    Ok(held.f_div(&limit)?.f_view_as(clean)?)
}

/// A GPU only queues what it is told: without this, steps would be reported, and could be cancelled, long before they
/// are done. Reading a number waits for it.
pub fn wait_for(latents: &Tensor) -> Result<()> {
    if latents.device() != Device::Cpu {
        let _ = latents.f_flatten(0, -1)?.f_narrow(0, 0, 1)?.f_to(Device::Cpu)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tch::{Kind, Tensor};

    use super::{NoiseSource, Register, Registers, Sampler};
    use crate::schedulers::{Ask, Schedule, build};
    use crate::{Error, Result};

    fn schedule(config: &Value, steps: u32) -> Schedule {
        build(config.as_object().unwrap(), None, &Ask::steps(steps)).unwrap()
    }

    fn pictures(seed: f64) -> Tensor {
        (Tensor::arange(32, (Kind::Float, tch::Device::Cpu)) * 1.7 + seed).sin().view([1, 2, 4, 4])
    }

    /// All steps with a network that says the sine of the sample.
    fn way(schedule: &Schedule, first: &Tensor, noise: &mut NoiseSource<'_>) -> Result<Tensor> {
        let mut sampler = Sampler::new(schedule, 0)?;
        let mut sample = first * sampler.init_noise_sigma();
        for i in 0..sampler.len() {
            let output = sampler.scale_input(i, &sample)?.sin();
            sample = sampler.step(i, &sample, &output, noise)?;
        }
        Ok(sample)
    }

    fn silent() -> Result<Tensor> {
        Err(Error::internal("no noise was to be drawn"))
    }

    #[test]
    fn a_picture_is_the_same_in_any_company() {
        for config in [
            json!({ "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "thresholding": true }),
            json!({ "_class_name": "DPMSolverSDEScheduler" }),
            json!({ "_class_name": "EulerAncestralDiscreteScheduler" }),
            json!({ "_class_name": "LCMScheduler" }),
        ] {
            let schedule = schedule(&config, 4);
            let (one, other) = (pictures(0.3), pictures(2.0));
            let alone = way(&schedule, &one, &mut || Ok(pictures(5.0))).unwrap();
            let company = Tensor::cat(&[&other, &one], 0);
            let noise = Tensor::cat(&[pictures(9.0), pictures(5.0)], 0);
            let both = way(&schedule, &company, &mut || Ok(noise.copy())).unwrap();
            assert_eq!(both.narrow(0, 1, 1), alone, "{config}");
        }
    }

    /// Nor is any drawn for the last step, which ends without noise.
    #[test]
    fn only_those_that_add_noise_draw_it() {
        for name in ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "DDIMScheduler", "UniPCMultistepScheduler"] {
            let _ = way(&schedule(&json!({ "_class_name": name }), 5), &pictures(0.0), &mut silent).unwrap();
        }
        for (config, draws) in [
            (json!({ "_class_name": "EulerAncestralDiscreteScheduler" }), 4),
            (json!({ "_class_name": "LCMScheduler" }), 4),
            (json!({ "_class_name": "DDIMScheduler", "eta": 1.0 }), 4),
            (json!({ "_class_name": "DPMSolverSDEScheduler" }), 8),
        ] {
            let mut drawn = 0;
            let mut noise = || {
                drawn += 1;
                Ok(pictures(f64::from(drawn)))
            };
            let _ = way(&schedule(&config, 5), &pictures(0.0), &mut noise).unwrap();
            assert_eq!(drawn, draws, "{config}");
        }
    }

    #[test]
    fn what_counts_for_nothing_need_not_be_there() {
        let turned = pictures(0.0).permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let mut registers = Registers::default();
        registers.begin(pictures(1.0), turned);
        let terms = [
            (0.0, Register::Fresh),
            (0.0, Register::Past(0)),
            (0.0, Register::Local(2)),
            (0.0, Register::Output),
            (2.0, Register::Sample),
        ];
        let sum = registers.sum(&terms, &mut silent).unwrap();
        assert_eq!(sum, pictures(1.0) * 2.0);
        // Where it is there, the first term says how the numbers lie.
        assert_eq!(sum.stride(), [32, 1, 8, 2]);
        assert_eq!(registers.sum(&[(0.0, Register::Fresh)], &mut silent).unwrap(), pictures(0.0).zeros_like());
        assert!(registers.sum(&[(1.0, Register::Past(0))], &mut silent).is_err());
    }

    #[test]
    fn the_next_latents_have_the_networks_type() {
        let schedule = schedule(&json!({ "_class_name": "EulerDiscreteScheduler" }), 2);
        let mut sampler = Sampler::new(&schedule, 0).unwrap();
        let output = pictures(1.0).to_kind(Kind::BFloat16);
        let next = sampler.step(0, &pictures(0.0), &output, &mut silent).unwrap();
        assert_eq!(next.kind(), Kind::BFloat16);
    }

    #[test]
    fn steps_are_made_in_order() {
        let schedule = schedule(&json!({ "_class_name": "EulerDiscreteScheduler" }), 3);
        let mut sampler = Sampler::new(&schedule, 1).unwrap();
        let x = pictures(0.0);
        assert_eq!(sampler.len(), 2);
        assert!(sampler.step(1, &x, &x, &mut silent).is_err());
        let _ = sampler.step(0, &x, &x, &mut silent).unwrap();
        assert!(sampler.step(0, &x, &x, &mut silent).is_err());
        assert!(sampler.timestep(2).is_err());
        assert!(sampler.add_noise(2, &x, &x).is_err());
    }

    #[test]
    fn every_class_can_be_watched() {
        // A network that knows the noise is estimated to see the clean picture, whatever the class computes on the way.
        let (clean, noise) = (pictures(0.3) * 0.5, pictures(4.0));
        for class in crate::config::scheduler::Class::ALL {
            let flow = class == crate::config::scheduler::Class::FlowMatchEulerDiscrete;
            let schedule = schedule(&json!({ "_class_name": class.name(), "clip_sample": false }), 4);
            let mut sampler = Sampler::new(&schedule, 0).unwrap();
            assert!(sampler.denoised().unwrap().is_none());
            // In the middle, where both signal and noise count.
            let mut sampler = Sampler::new(&schedule, 2).unwrap();
            let sample = sampler.add_noise(0, &clean, &noise).unwrap();
            let output = if flow { &noise - &clean } else { noise.copy() };
            let _ = sampler.step(0, &sample, &output, &mut || Ok(pictures(1.0))).unwrap();
            let seen = sampler.denoised().unwrap().unwrap();
            let difference = (seen - &clean).abs().max().double_value(&[]);
            assert!(difference < 1e-4, "{}: {difference}", class.name());
        }
    }
}
