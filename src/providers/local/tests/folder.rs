//! A model folder that is as small as it can be and still whole.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// Writes the folder: 32 latents a side, times 4.
pub(super) fn write(folder: &Path) {
    let put = |file: &str, value: &Value| {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    };
    put(
        "model_index.json",
        &json!({
            "_class_name": "StableDiffusionXLPipeline",
            "text_encoder": ["transformers", "CLIPTextModel"],
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        }),
    );
    put("unet/config.json", &json!({ "sample_size": 32 }));
    put("vae/config.json", &json!({ "block_out_channels": [4, 8, 8] }));
    put("text_encoder/config.json", &json!({}));
    put("text_encoder_2/config.json", &json!({}));
    put("scheduler/scheduler_config.json", &json!({}));
    for tokenizer in ["tokenizer", "tokenizer_2"] {
        put(&format!("{tokenizer}/vocab.json"), &json!({}));
        put(&format!("{tokenizer}/merges.txt"), &json!("x"));
    }
    for (component, stem) in [
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
        ("text_encoder_2", "model"),
    ] {
        fs::write(folder.join(component).join(format!("{stem}.safetensors")), weights()).unwrap();
    }
}

/// One tensor of one number.
pub(super) fn weights() -> Vec<u8> {
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = u64::try_from(header.len()).unwrap().to_le_bytes();
    [&length[..], header, &[0; 4]].concat()
}
