"""The shapes of the UNet and of the scheduler, and SDXL's six sizes for 128x128."""

from __future__ import annotations

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

TEXT_WIDTH, POOLED = 64 + 96, 96
_SIZES = 6 * 32  # six numbers, 32 sines and cosines each

UNET = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    # Small, because text encoders, UNet and VAE together must stay under 12 MB in fp16.
    # The lowest level is 4x4: there the convolutions' zero padding tells every cell where it is, and a picture of one
    # object needs to know that more than anything else.
    "block_out_channels": [64, 96, 96],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "transformer_layers_per_block": 1,
    "attention_head_dim": [2, 3, 3],  # as in SDXL, these are counts of heads
    "cross_attention_dim": TEXT_WIDTH,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": POOLED + _SIZES,
}

# Zero terminal SNR: the first step really starts from noise alone, so a flat ground takes no colour from the noise's mean.
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "steps_offset": 0,
}


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(**UNET)


def scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(**SCHEDULER)


def time_ids(count: int, side: int = 128) -> torch.Tensor:
    """Original size, crop and target size, as the pipeline writes them."""
    return torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32).repeat(count, 1)
