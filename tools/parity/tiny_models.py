"""Tiny Stable Diffusion 1 and FLUX pipelines with random weights, to put adapters on. The SDXL one is a committed fixture."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import (AutoencoderKL, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel,
                       StableDiffusionPipeline, UNet2DConditionModel)
from transformers import CLIPTextModel, T5Config, T5EncoderModel, T5Tokenizer

import pipelines
import vocabulary

TEXT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, "hidden_act": "quick_gelu"}
VAE = {"block_out_channels": [4, 4], "norm_num_groups": 2, "layers_per_block": 1, "in_channels": 3, "out_channels": 3,
       "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
# `transformers.T5Tokenizer` wants its extra ids at the end.
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -6.0 - i * 0.01) for i, c in enumerate("abcdefghijklmnopqrstuvwxyz,.!&")),
          ("▁a", -3.0), ("▁the", -3.1), ("▁of", -3.2), ("ing", -3.5), ("▁paint", -4.0), ("▁red", -4.5), ("▁cat", -4.6), ("<extra_id_0>", 0.0)]


@torch.no_grad()
def settle(modules: list[torch.nn.Module]) -> None:
    """Norms and biases as trained ones, everything rounded to what is stored."""
    for i, module in enumerate(modules):
        module.eval()
        pipelines.perturb(module, 900 + i)
        for p in module.parameters():
            p.copy_(p.to(torch.float16).to(torch.float32))


def sd(work: Path) -> StableDiffusionPipeline:
    """Convolutions around the transformers, as Stable Diffusion 1 has them; two levels, the second without attention."""
    text = pipelines.text_encoder(CLIPTextModel, TEXT, 30)
    torch.manual_seed(31)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(8, 16), cross_attention_dim=12,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2, norm_num_groups=4)
    vae = AutoencoderKL(**VAE, latent_channels=4)
    settle([text, unet, vae])
    scheduler = EulerDiscreteScheduler(**pipelines.SCHEDULER)
    pipeline = StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=pipelines.tokenizer(work / "sd", vocabulary.END), unet=unet,
                                       scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def flux(work: Path) -> FluxPipeline:
    """Two blocks of each sort, an embedded guidance."""
    text = pipelines.text_encoder(CLIPTextModel, TEXT, 40)
    torch.manual_seed(41)
    t5 = T5EncoderModel(T5Config(vocab_size=len(PIECES), d_model=12, d_kv=4, d_ff=16, num_layers=2, num_heads=3, is_encoder_decoder=False,
                                 feed_forward_proj="gated-gelu", use_cache=False, tie_word_embeddings=False))
    transformer = FluxTransformer2DModel(patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=12,
                                         num_attention_heads=2, joint_attention_dim=12, pooled_projection_dim=12, guidance_embeds=True,
                                         axes_dims_rope=(4, 4, 4))
    vae = AutoencoderKL(**VAE, latent_channels=4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1159, scaling_factor=0.3611)
    settle([text, t5, transformer, vae])
    tokenizer_2 = T5Tokenizer(vocab=PIECES, extra_ids=1, model_max_length=512)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256,
                                                max_image_seq_len=4096)
    pipeline = FluxPipeline(scheduler=scheduler, vae=vae, text_encoder=text, tokenizer=pipelines.tokenizer(work / "flux", vocabulary.END),
                            text_encoder_2=t5, tokenizer_2=tokenizer_2, transformer=transformer)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def store(pipeline, folder: Path) -> None:
    """The folder in half precision, the VAE's encoder left out."""
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in folder.rglob("*.safetensors"):
        pipelines.rewrite(path, lambda ts: {n: t.to(torch.float16) if t.is_floating_point() else t for n, t in ts.items()
                                            if not n.startswith(("encoder.conv", "encoder.down", "encoder.mid", "quant_conv."))})
