//! `scheduler_config.json` of files that carry none: what the repository of the family's first model says, which is also
//! what diffusers takes for a single file.

use serde_json::{Map, Value, json};

/// What a file's own tensors say about its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// `v_pred`: the network predicts velocity.
    pub velocity: bool,
    /// `ztsnr`: it was trained down to pure noise.
    pub zero_snr: bool,
}

/// The betas that all of Stable Diffusion was trained with.
fn stable_diffusion(class: &str) -> Map<String, Value> {
    let Value::Object(config) = json!({
        "_class_name": class, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "clip_sample": false, "set_alpha_to_one": false, "skip_prk_steps": true,
        "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": null, "prediction_type": "epsilon"
    }) else {
        return Map::new();
    };
    config
}

/// Stable Diffusion XL.
pub fn sdxl(marks: Marks) -> Map<String, Value> {
    let mut config = stable_diffusion("EulerDiscreteScheduler");
    config.insert("interpolation_type".to_owned(), json!("linear"));
    config.insert("use_karras_sigmas".to_owned(), json!(false));
    apply(&mut config, marks);
    config
}

/// Stable Diffusion 1, and 2 where `is_second`.
pub fn sd(is_second: bool, marks: Marks) -> Map<String, Value> {
    let mut config = stable_diffusion(if is_second { "DDIMScheduler" } else { "PNDMScheduler" });
    apply(&mut config, marks);
    config
}

/// FLUX.1: dev shifts its sigmas by the size of the picture, schnell does not.
pub fn flux(is_dev: bool) -> Map<String, Value> {
    let Value::Object(config) = json!({
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000,
        "shift": if is_dev { 3.0 } else { 1.0 }, "use_dynamic_shifting": is_dev, "base_shift": 0.5,
        "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096
    }) else {
        return Map::new();
    };
    config
}

/// Puts what a file says in place of what its family does. Training down to pure noise counts only from the last timestep
/// on, so the spacing becomes trailing (arXiv:2305.08891, 3.3).
pub fn apply(config: &mut Map<String, Value>, marks: Marks) {
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    if marks.velocity {
        set("prediction_type", json!("v_prediction"));
    }
    if marks.zero_snr {
        set("rescale_betas_zero_snr", json!(true));
        set("timestep_spacing", json!("trailing"));
    }
}
