//! Every schedule equals the one that diffusers makes (`fixtures/schedulers.json`, by `tools/parity/schedulers.py`).

#![expect(clippy::cast_possible_truncation, reason = "the tables hold f32 numbers, written as JSON")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_cmp,
    reason = "a failing test may panic, and equality to the bit is what is tested"
)]

use easel_engine::schedulers::{self, Denoised, Scheduler};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Largest relative difference of a timestep or a sigma.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Table {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: Map<String, Value>,
    steps: u32,
    init_noise_sigma: f64,
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    /// Of timesteps and sigmas, where only the first two and the last two are recorded.
    lengths: Option<[usize; 2]>,
    /// For each step: two samples, the two scaled for the network, the two after the step.
    #[serde(default)]
    next: Vec<[f64; 6]>,
}

fn table() -> Table {
    serde_json::from_str(include_str!("fixtures/schedulers.json")).unwrap()
}

fn build(case: &Case) -> Box<dyn Scheduler> {
    let mut config = case.config.clone();
    config.insert("_class_name".to_owned(), json!("EulerDiscreteScheduler"));
    schedulers::build(&config, None, case.steps).unwrap_or_else(|error| panic!("{config:?}: {error}"))
}

fn relative(ours: f64, theirs: f64) -> f64 {
    (ours - f64::from(theirs as f32)).abs() / theirs.abs().max(1e-3)
}

/// The first two and the last two, where the table holds no more.
fn ends(numbers: Vec<f64>, shortened: bool) -> Vec<f64> {
    if shortened { [&numbers[..2], &numbers[numbers.len() - 2..]].concat() } else { numbers }
}

/// One step on one number, in `f32` and in the order that `Step` documents.
fn advance(scheduler: &dyn Scheduler, i: usize, sample: f32, output: f32) -> f32 {
    let step = scheduler.step(i);
    let denoised = match step.denoised {
        Denoised::Epsilon => sample - step.sigma as f32 * output,
        Denoised::Sample => output,
        Denoised::Velocity { scale, divisor } => output * scale as f32 + sample / divisor as f32,
    };
    sample + (sample - denoised) / step.sigma as f32 * step.dt as f32
}

#[test]
fn timesteps_and_sigmas_are_those_of_diffusers() {
    let mut worst = (0.0, String::new());
    let (mut equal, mut all) = (0, 0);
    for case in table().cases {
        let scheduler = build(&case);
        let place = format!("{} steps of {}", case.steps, Value::Object(case.config.clone()));
        let timesteps: Vec<f64> = (0..scheduler.len()).map(|i| scheduler.timestep(i)).collect();
        let sigmas = scheduler.sigmas().to_vec();
        let lengths = case.lengths.unwrap_or([case.timesteps.len(), case.sigmas.len()]);
        assert_eq!([timesteps.len(), sigmas.len()], lengths, "{place}");
        let shortened = case.lengths.is_some();
        let ours = [ends(timesteps, shortened), ends(sigmas, shortened), vec![scheduler.init_noise_sigma()]].concat();
        let theirs = [case.timesteps, case.sigmas, vec![case.init_noise_sigma]].concat();
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            equal += usize::from(ours as f32 == theirs as f32);
            all += 1;
            let difference = relative(ours, theirs);
            assert!(difference <= TOLERANCE, "{ours} is not {theirs} in {place}");
            if difference > worst.0 {
                worst = (difference, format!("{ours} for {theirs} in {place}"));
            }
        }
    }
    println!("largest relative difference {:.1e}: {}", worst.0, worst.1);
    println!("{equal} of {all} numbers equal to the bit");
    assert!(equal * 100 >= all * 98, "only {equal} of {all} numbers are equal to the bit");
}

#[test]
fn each_step_rounds_as_in_diffusers() {
    let mut worst = 0.0_f64;
    for case in table().cases {
        let scheduler = build(&case);
        for (i, &[one, two, scaled_one, scaled_two, next_one, next_two]) in case.next.iter().enumerate() {
            for (sample, scaled, output, next) in [(one, scaled_one, 0.3, next_one), (two, scaled_two, -0.9, next_two)]
            {
                let place = format!("step {i} of {} of {}", case.steps, Value::Object(case.config.clone()));
                let ours = advance(&*scheduler, i, sample as f32, output);
                let difference = relative(f64::from(ours), next) * next.abs().max(1e-3) / sample.abs().max(1.0);
                assert!(difference <= TOLERANCE, "{ours} is not {next} at {place}");
                assert!(relative(sample / scheduler.input_divisor(i), scaled) <= TOLERANCE, "the input at {place}");
                let (a, b) = scheduler.step(i).coefficients();
                let folded = a * f64::from(sample as f32) + b * f64::from(output);
                assert!(
                    (folded - next).abs() <= 1e-5 * sample.abs().max(1.0),
                    "the folded {folded} is not {next} at {place}"
                );
                worst = worst.max(difference);
            }
        }
    }
    println!("largest difference {worst:.1e} of the sample's size");
}

/// The first sample is four thousand times too large for `f32` to keep the fifth decimal of the next one, so the step
/// must round where diffusers rounds. Sigmas may differ in the last bit: libtorch's square root is not always the
/// nearest one, and which it is depends on the processor.
#[test]
fn the_first_step_of_zero_terminal_snr_rounds_as_in_diffusers() {
    let (mut seen, mut folded_differs) = (0, 0.0_f32);
    for case in table().cases {
        let has = |key: &str, value: Value| case.config.get(key) == Some(&value);
        let velocity = has("prediction_type", json!("v_prediction")) && has("timestep_spacing", json!("trailing"));
        if !(velocity && has("rescale_betas_zero_snr", json!(true))) {
            continue;
        }
        let scheduler = build(&case);
        assert!(scheduler.init_noise_sigma() as f32 == case.init_noise_sigma as f32);
        for (i, &t) in case.timesteps.iter().enumerate() {
            assert!(scheduler.timestep(i) as f32 == t as f32, "timestep {i} of {}", case.steps);
        }
        for (i, next) in case.next.iter().enumerate() {
            for (sample, output, after) in [(next[0], 0.3, next[4]), (next[1], -0.9, next[5])] {
                let ours = advance(&*scheduler, i, sample as f32, output);
                assert!((ours - after as f32).abs() <= 1e-5, "{ours} is not {after} at step {i} of {}", case.steps);
                let (a, b) = scheduler.step(i).coefficients();
                folded_differs =
                    folded_differs.max((sample as f32 * a as f32 + output * b as f32 - after as f32).abs());
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 8);
    assert!(
        folded_differs > 5e-5,
        "if folded coefficients were as good ({folded_differs:.1e}), `Step` could be simpler"
    );
}
