//! What files carry along that no picture is made from. Nobody needs to be told of it.

/// Beginnings of names: averages kept in training, losses, the schedule of training, the other half of CLIP, marks.
const BEGINNINGS: [&str; 36] = [
    "model_ema.",
    "loss.",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "vae.loss.",
    "cond_stage_model.model.visual.",
    "cond_stage_model.model.ln_post.",
    "embedding_manager.",
    "lora",
    "betas",
    "alphas_cumprod",
    "sqrt_",
    "log_one_minus_alphas_cumprod",
    "posterior_",
    "lvlb_weights",
    "logvar",
    "scale_factor",
    "denoiser.",
    "model_sampling.",
    "model.sigmas",
    "v_pred",
    "ztsnr",
    "edm_",
    "global_step",
    "epoch",
    "iteration",
    "optimizer",
    "ot_extract",
    "cond_stage_model.tokenizer",
    "visual.",
    "vision_model.",
    "visual_projection.",
    "lm_head.",
    "decoder.block.",
    "decoder.embed_tokens.",
    "decoder.final_layer_norm.",
];

const ENDINGS: [&str; 8] = [
    "position_ids",
    "logit_scale",
    "logit_bias",
    "attn_mask",
    "spiece_model",
    "scaled_fp8",
    "log_sigmas",
    "num_batches_tracked",
];

/// Whether a tensor that no network takes is of no use to anyone.
pub fn is_known_spare(name: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || ENDINGS.iter().any(|ending| name == *ending || name.ends_with(&format!(".{ending}")))
        // The picture's half of CLIP and T5's decoder, wherever the whole of them is written.
        || [".visual.", ".vision_model.", ".lm_head."].iter().any(|inside| name.contains(inside))
}
