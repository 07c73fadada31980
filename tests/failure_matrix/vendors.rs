//! The vendors that the stand-in plays, as sections of a configuration and as requests that each of them takes.

use std::time::Duration;

use provider_sim::{Simulator, Vendor};
use serde_json::{Value, json};

use crate::leaks::KEY_VARIABLE;

/// No provider but those that a test adds, and no limit on callers.
pub const BASE: &str = "providers.gemini.enabled = false\nproviders.local.enabled = false
providers.openai.enabled = false\nproviders.runware.enabled = false
limits.requests_per_minute = 0\n";

/// Everything in the log, and this long for a request with all its attempts.
pub fn watched(deadline: Duration) -> String {
    format!("{BASE}log.level = \"trace\"\nrouting.deadline = \"{}s\"\n", deadline.as_secs())
}

/// The vendors in the order of the table: first each kind by itself, then what speaks `openai_compat` in its own way.
pub const ALL: [Vendor; 8] = [
    Vendor::Runware,
    Vendor::Gemini,
    Vendor::OpenAi,
    Vendor::LocalAi,
    Vendor::SdCpp,
    Vendor::Easel,
    Vendor::Vllm,
    Vendor::Xai,
];

/// What a vendor is called in the table.
pub fn title(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Runware => "`runware`",
        Vendor::Gemini => "`gemini`",
        Vendor::OpenAi => "`openai_compat`, OpenAI",
        Vendor::LocalAi => "`openai_compat`, LocalAI",
        Vendor::SdCpp => "`openai_compat`, stable-diffusion.cpp",
        Vendor::Easel => "`openai_compat`, another Easel",
        Vendor::Vllm => "`openai_compat`, vLLM-Omni",
        Vendor::Xai => "`openai_compat`, xAI",
    }
}

/// What a vendor is called in names.
pub fn word(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Runware => "runware",
        Vendor::Gemini => "gemini",
        Vendor::OpenAi => "openai",
        Vendor::LocalAi => "localai",
        Vendor::SdCpp => "sdcpp",
        Vendor::Easel => "easel",
        Vendor::Vllm => "vllm",
        Vendor::Xai => "xai",
    }
}

/// A provider `name` that asks this stand-in as this vendor, with one model `any`. `policy` are the keys of its policy;
/// `limits` those of its model, where the kind has such.
pub fn section(
    name: &str,
    vendor: Vendor,
    upstream: &Simulator,
    priority: usize,
    policy: &str,
    limits: &str,
) -> String {
    let url = upstream.url(vendor);
    let (kind, config, model) = match vendor {
        Vendor::Runware => ("runware", "", "air = \"runware:100@1\"\nsize = \"128x128\"".to_owned()),
        Vendor::Gemini => {
            let model = "id = \"gemini-3.1-flash-image\"\nimage_sizes = [\"512\"]\nsize = \"512x512\"";
            ("gemini", "", model.to_owned())
        }
        Vendor::OpenAi => ("openai_compat", "", "id = \"sim-any\"\nstreams = true".to_owned()),
        Vendor::LocalAi => ("openai_compat", "dialect = \"localai\"", "id = \"flux.1-dev-ggml\"".to_owned()),
        Vendor::SdCpp => ("openai_compat", "dialect = \"sdcpp\"", "name = \"any\"".to_owned()),
        Vendor::Easel => ("openai_compat", "dialect = \"easel\"", "id = \"stand_in/any\"".to_owned()),
        Vendor::Vllm => {
            let model = "id = \"Qwen/Qwen-Image\"\nfields = { steps = \"num_inference_steps\" }";
            ("openai_compat", "", model.to_owned())
        }
        Vendor::Xai => {
            let unsupported = ["seed", "negative_prompt", "steps", "guidance_scale", "scheduler"];
            let unsupported = unsupported.map(|name| format!("supports_{name} = false\n")).concat();
            (
                "openai_compat",
                "",
                format!(
                    "id = \"grok-imagine-image\"\nsize_as = \"aspect_ratio\"\nresponse_format = \"url\"\n{unsupported}"
                ),
            )
        }
    };
    let limits = if limits.is_empty() || vendor == Vendor::Gemini {
        String::new()
    } else {
        format!("limits = {{ {limits} }}\n")
    };
    format!(
        "\n[providers.{name}]\nkind = \"{kind}\"\npriority = {priority}\ndefault_model = \"any\"\n\
         policy = {{ {policy} }}\n[providers.{name}.config]\nbase_url = \"{url}\"\n\
         api_key = {{ env = \"{KEY_VARIABLE}\" }}\n{config}\n[providers.{name}.config.models.any]\n{model}\n{limits}"
    )
}

/// Pictures in one request to this vendor: two where it makes several in one call.
pub fn count(vendor: Vendor) -> usize {
    match vendor {
        Vendor::Gemini | Vendor::LocalAi => 1,
        Vendor::Runware | Vendor::OpenAi | Vendor::SdCpp | Vendor::Easel | Vendor::Vllm | Vendor::Xai => 2,
    }
}

/// The size that is asked for: the smallest that it takes. xAI takes ratios only.
pub fn size(vendor: Vendor) -> Option<(u32, u32)> {
    match vendor {
        Vendor::Runware => Some((128, 128)),
        Vendor::Gemini => Some((512, 512)),
        Vendor::Xai => None,
        Vendor::OpenAi | Vendor::LocalAi | Vendor::SdCpp | Vendor::Easel | Vendor::Vllm => Some((64, 48)),
    }
}

/// A request that this vendor takes.
pub fn wish(vendor: Vendor, prompt: &str) -> Value {
    let mut wish = json!({ "prompt": prompt, "n": count(vendor) });
    match size(vendor) {
        Some((width, height)) => wish["size"] = json!(format!("{width}x{height}")),
        None => wish["aspect_ratio"] = json!("1:1"),
    }
    if vendor == Vendor::Runware {
        // Unasked, it sends JPEGs, in which a changed byte does not show.
        wish["output_format"] = json!("png");
    }
    wish
}
