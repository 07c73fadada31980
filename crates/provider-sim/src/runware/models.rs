//! What models take that others do not: sizes, prompts, and where their pictures go.

use serde_json::Value;

use super::error::TaskError;

/// Models that take the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// SD, SDXL, FLUX.1 and what descends from them: `seedImage`, sides in multiples of 64.
    Diffusion,
    /// FLUX.1 Fill: also `referenceImages`, for ACE++.
    Fill,
    /// Kontext, Qwen edit, `ByteDance`: `referenceImages`.
    Reference,
    /// FLUX.2 and the newer schemas: `inputs.referenceImages`.
    Inputs,
    /// GPT Image and Gemini through Runware: `inputs.referenceImages` and a list of sizes.
    Listed,
}

/// Sizes of models that have a list of them.
const LISTED: [(u64, u64); 13] = [
    (1024, 1024),
    (1536, 1024),
    (1024, 1536),
    (1248, 832),
    (832, 1248),
    (1184, 864),
    (864, 1184),
    (1152, 896),
    (896, 1152),
    (1344, 768),
    (768, 1344),
    (1536, 672),
    (2048, 2048),
];

impl Family {
    /// The family of an AIR; `None` if the vendor has no such model.
    pub fn of(air: &str) -> Option<Self> {
        let (source, id) = air.split_once(':')?;
        if source == "gone" || air == "runware:0@0" {
            return None;
        }
        Some(match (source, id) {
            ("runware", "102@1") => Self::Fill,
            ("runware", "106@1" | "108@20" | "108@22") | ("bfl", "3@1" | "4@1") | ("bytedance", _) => Self::Reference,
            ("runware", id) if id.starts_with("400@") => Self::Inputs,
            ("bfl" | "xai" | "midjourney" | "alibaba" | "recraft" | "ideogram", _) => Self::Inputs,
            ("openai" | "google", _) => Self::Listed,
            _ => Self::Diffusion,
        })
    }

    /// Whether the task asks for what the model takes.
    pub fn check(self, air: &str, task: &Value) -> Result<(), TaskError> {
        let unsupported = |name: &str| {
            let message = format!("Parameter '{name}' is not supported by model '{air}'.");
            Err(TaskError::parameter("unsupported", name, message))
        };
        let has = |name: &str| !task[name].is_null();
        let places: &[&str] = match self {
            Self::Diffusion => &["referenceImages", "resolution"],
            Self::Fill => &["resolution"],
            Self::Reference => &["seedImage", "maskImage", "strength", "negativePrompt"],
            Self::Inputs | Self::Listed => &["seedImage", "maskImage", "strength", "referenceImages"],
        };
        if let Some(name) = places.iter().find(|name| has(name)) {
            return unsupported(name);
        }
        if matches!(self, Self::Listed) && has("negativePrompt") {
            return unsupported("negativePrompt");
        }
        let longest = if self == Self::Listed { 32_000 } else { 3_000 };
        let prompt = task["positivePrompt"].as_str().unwrap_or_default().chars().count();
        if prompt > longest {
            let message =
                format!("Invalid value for 'positivePrompt'. It must be a text of 2 to {longest} characters.");
            return Err(TaskError::parameter("invalid", "positivePrompt", message).with_bound("max", longest));
        }
        if air == "runware:101@1" && task["steps"].as_u64().is_some_and(|steps| steps > 50) {
            let message = "Invalid value for 'steps'. It must be an integer between 1 and 50.";
            return Err(TaskError::parameter("invalid", "steps", message).with_bound("min", 1).with_bound("max", 50));
        }
        self.check_size(task)
    }

    fn check_size(self, task: &Value) -> Result<(), TaskError> {
        let (min, max, step): (u64, u64, u64) = match self {
            Self::Diffusion | Self::Fill => (128, 2048, 64),
            Self::Reference | Self::Inputs => (256, 2048, 16),
            Self::Listed => return Self::check_listed(task),
        };
        for name in ["width", "height"] {
            let fits = |side: u64| (min..=max).contains(&side) && side.is_multiple_of(step);
            match task[name].as_u64() {
                Some(side) if fits(side) => {}
                None if !matches!(self, Self::Diffusion | Self::Fill) => {}
                None => return Err(TaskError::parameter("missing", name, format!("Missing parameter '{name}'."))),
                Some(_) => {
                    let message = format!(
                        "Invalid value for '{name}'. It must be an integer between {min} and {max} in multiples of {step}."
                    );
                    let error = TaskError::parameter("invalid", name, message).with_bound("type", "integer");
                    return Err(error.with_bound("min", min).with_bound("max", max).with_bound("multiplier", step));
                }
            }
        }
        Ok(())
    }

    fn check_listed(task: &Value) -> Result<(), TaskError> {
        match (task["width"].as_u64(), task["height"].as_u64()) {
            (None, None) => Ok(()),
            (Some(width), Some(height)) if LISTED.contains(&(width, height)) => Ok(()),
            _ => {
                let list: Vec<String> = LISTED.iter().map(|(width, height)| format!("{width}x{height}")).collect();
                let message = format!("Invalid dimensions. Supported are: {}.", list.join(", "));
                Err(TaskError::parameter("invalid", "width", message))
            }
        }
    }
}
