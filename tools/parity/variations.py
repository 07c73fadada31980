"""The pipelines that are committed as fixtures, each as different from the others as configs of their family get."""

from __future__ import annotations

import torch

from pipelines import Run, Variation

SMALL_TEXT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
SMALL_TEXT_2 = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 28, "projection_dim": 20}
SMALL_VAE = {"block_out_channels": [8, 8, 16, 16], "norm_num_groups": 4}
ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}

TINY_UNET = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "transformer_layers_per_block": (1, 1)}
TINY_VAE = {"block_out_channels": [4, 4, 8, 8], "norm_num_groups": 4}
PNDM = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1}
ANCESTRAL = {"_class_name": "EulerAncestralDiscreteScheduler"}
SDE = {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}
DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False}
HEUN = {"_class_name": "HeunDiscreteScheduler"}


def cross(prefix: str, attends: list[bool]) -> tuple[str, ...]:
    return tuple(f"CrossAttn{prefix}Block2D" if a else f"{prefix}Block2D" for a in attends)


ALL = [
    # The pipeline of the base description, weights as freshly made.
    Variation("base", perturb=False, tokenizers="both", runs=[
        Run("leading"),
        Run("without-negative", negative=None, image=False),
        Run("empty-negative", negative="", image=False),
        Run("without-guidance", guidance=1.0, image=False),
        Run("karras", scheduler={"use_karras_sigmas": True}),
        Run("empty-prompt", prompt="", negative=None, steps=2, image=False),
        Run("long-prompt", prompt="the red squirrel, a cat & a dog, " * 12, steps=2, image=False),
    ]),
    # Two levels that both attend, as the model that ships; pure noise at the first step. Every run goes down from a sigma
    # of 4096 by less than a factor of 15 at a time: a step subtracts numbers of the size of that noise, which are rounded
    # to 1e-3 there, and what follows must be so much larger than ordinary latents that this does not count. After four
    # trailing steps it would, and two kinds of processor would disagree (random_configs.py compares those on one).
    Variation("two-levels-zero-snr", seed=100, text=SMALL_TEXT, text_2=SMALL_TEXT_2, vae=SMALL_VAE, force_zeros=False, tokenizers="pair",
              unet={"block_out_channels": (16, 24), "down_block_types": cross("Down", [True, True]),
                    "up_block_types": cross("Up", [True, True]), "transformer_layers_per_block": (1, 2), "attention_head_dim": (2, 4),
                    "layers_per_block": 1, "addition_time_embed_dim": 6},
              scheduler=ZERO_SNR, runs=[
                  Run("karras", steps=8, width=96, height=96, guidance=3.0, image=False, scheduler={"use_karras_sigmas": True}),
                  Run("without-negative", steps=9, negative=None, image=False, scheduler={"use_exponential_sigmas": True}),
                  Run("trailing", steps=150, guidance=2.5),
                  Run("some-signal", steps=6, image=False, scheduler={"rescale_betas_zero_snr": False}),
              ]),
    # Four levels with convolutions around the transformers, another number of layers and heads at each; sizes that do
    # not halve evenly. Little guidance, which multiplies what two kinds of processor differ by.
    Variation("four-levels-conv", seed=200, text=SMALL_TEXT, text_2=SMALL_TEXT_2, vae=SMALL_VAE, text_prefix=True, tokenizers="pair",
              unet={"block_out_channels": (8, 16, 12, 16), "down_block_types": cross("Down", [True, False, True, True]),
                    "up_block_types": cross("Up", [True, True, False, True]), "transformer_layers_per_block": (2, 1, 1, 1),
                    "attention_head_dim": (2, 8, 3, 4), "layers_per_block": (1, 2, 1, 1), "norm_num_groups": 4, "use_linear_projection": False,
                    "addition_time_embed_dim": 10},
              scheduler={"timestep_spacing": "linspace"}, runs=[
                  Run("odd-sizes", width=72, height=88, steps=3, guidance=2.5),
                  Run("wide", width=104, height=40, steps=3, guidance=2.5, image=False),
                  Run("exponential", steps=5, guidance=2.5, image=False, scheduler={"use_exponential_sigmas": True}),
                  Run("sigma-min", steps=3, guidance=2.5, scheduler={"final_sigmas_type": "sigma_min", "interpolation_type": "log_linear"}),
              ]),
    # What few files use: scale and shift by time, silent residuals, cosine betas, attention in f32, a sine-first embedding.
    Variation("scale-shift-quiet", seed=300, text=SMALL_TEXT | {"hidden_act": "gelu"}, text_2=SMALL_TEXT_2 | {"hidden_act": "quick_gelu"},
              vae=SMALL_VAE, quiet=0.05, shards=True,
              unet={"block_out_channels": (8, 16), "down_block_types": cross("Down", [False, True]),
                    "up_block_types": cross("Up", [True, False]), "transformer_layers_per_block": (1, 1), "attention_head_dim": 2,
                    "layers_per_block": 1, "resnet_time_scale_shift": "scale_shift", "upcast_attention": True, "flip_sin_to_cos": False,
                    "freq_shift": 1, "norm_num_groups": 4, "norm_eps": 1e-6, "only_cross_attention": (False, True), "act_fn": "gelu"},
              scheduler={"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "leading"}, runs=[
                  Run("cosine", steps=4, negative=""),
                  Run("sample", steps=3, negative=None, image=False, scheduler={"prediction_type": "sample"}),
              ]),
    # Another VAE: three levels, no attention, no convolution before it, shifted latents; stored in fp32.
    Variation("plain-vae", seed=400, text=SMALL_TEXT | {"eos_token_id": 2}, text_2=SMALL_TEXT_2 | {"eos_token_id": 2}, dtype=torch.float32,
              vae={"block_out_channels": [4, 8, 12], "norm_num_groups": 2, "layers_per_block": 2, "mid_block_add_attention": False,
                   "use_post_quant_conv": False, "scaling_factor": 0.3611, "shift_factor": 0.1159, "act_fn": "silu"},
              unet={"block_out_channels": (8, 8), "down_block_types": cross("Down", [False, True]),
                    "up_block_types": cross("Up", [True, False]), "transformer_layers_per_block": (1, 3), "attention_head_dim": (1, 8),
                    "layers_per_block": 1, "norm_num_groups": 4, "mid_block_scale_factor": 1.4, "time_cond_proj_dim": 12},
              runs=[
                  Run("legacy-eos", prompt="##a red squirrel", steps=4, width=48, height=56),
                  Run("continuous", steps=3, scheduler={"timestep_type": "continuous", "prediction_type": "v_prediction"}),
              ]),
    # No attention in the middle, transformers of different depth on the way up, latents with a mean and a deviation.
    Variation("asymmetric", seed=500, text=SMALL_TEXT, text_2=SMALL_TEXT_2, dtype=torch.bfloat16, text_prefix=True,
              vae=SMALL_VAE | {"latents_mean": [0.1, -0.2, 0.3, 0.05], "latents_std": [1.1, 0.9, 0.7, 1.3], "layers_per_block": 0},
              unet={"block_out_channels": (8, 16), "down_block_types": cross("Down", [True, True]), "up_block_types": cross("Up", [True, True]),
                    "transformer_layers_per_block": ([1, 2], [2, 1]), "reverse_transformer_layers_per_block": ([1, 0, 2], [1, 1, 1]),
                    "mid_block_type": "UNetMidBlock2D", "attention_head_dim": (4, 2), "layers_per_block": 2, "norm_num_groups": 4,
                    "downsample_padding": 1, "conv_in_kernel": 5, "conv_out_kernel": 1, "time_embedding_dim": 48,
                    "time_embedding_act_fn": "silu", "timestep_post_act": "gelu", "center_input_sample": True},
              runs=[Run("leading", steps=4, width=80, height=64), Run("beta", steps=4, scheduler={"use_beta_sigmas": True})]),
    # Stable Diffusion 1 in small: one text encoder, convolutions around the transformers, PNDM; and every kind of work.
    Variation("sd", family="sd", tokenizers="pair", seed=600, text=SMALL_TEXT | {"num_hidden_layers": 4}, vae=TINY_VAE | {"scaling_factor": 0.18215},
              encoder=True, tile=32, pictures={"small": (64, 64), "large": (84, 60)},
              unet=TINY_UNET | {"down_block_types": cross("Down", [True, False]), "up_block_types": cross("Up", [False, True]),
                                "attention_head_dim": 2, "use_linear_projection": False},
              scheduler=PNDM | {"clip_sample": False}, runs=[
                  Run("text", guidance=7.5, steps=5),
                  Run("text-without-negative", negative=None, steps=3, image=False, scheduler=DDIM),
                  Run("text-clip-skip", clip_skip=2, steps=3, width=72, height=56, image=False),
                  Run("text-rescale", rescale=0.7, steps=3, image=False, scheduler=ANCESTRAL),
                  Run("text-three", seeds=[3, 2**40 + 1, 11], steps=3, image=False, scheduler=ANCESTRAL),
                  Run("image", work="image", strength=0.6, steps=5, image=False),
                  Run("image-default", work="image", steps=6, image=False, scheduler=SDE),
                  Run("image-barely", work="image", strength=0.21, steps=5, image=False, scheduler=HEUN),
                  Run("image-whole", work="image", strength=1.0, steps=3, image=False, scheduler=DDIM),
                  Run("image-wide", work="image", strength=0.75, steps=4, picture="large", width=104, height=72, image=False, scheduler=ANCESTRAL),
                  Run("image-three", work="image", strength=0.5, seeds=[5, 6, 7], steps=4, image=False, scheduler=SDE),
                  Run("inpaint", work="inpaint", steps=4, clip_skip=1),
                  Run("inpaint-partly", work="inpaint", strength=0.7, steps=5, negative=None, image=False, scheduler=SDE),
                  Run("inpaint-without-guidance", work="inpaint", strength=0.5, steps=4, guidance=1.0, image=False, scheduler=DDIM),
                  Run("inpaint-sizes", work="inpaint", strength=0.8, steps=4, picture="large", width=56, height=80, image=False, scheduler=ANCESTRAL),
                  Run("inpaint-crop", work="inpaint", strength=0.8, steps=4, picture="large", padding=5, width=64, height=64, scheduler=DDIM),
                  Run("inpaint-crop-filled", work="inpaint", steps=3, picture="large", padding=30, width=40, height=80, scheduler=HEUN),
              ]),
    # Its nine-channel sibling for inpainting.
    Variation("sd-inpaint", family="sd", tokenizers="pair", seed=700, text=SMALL_TEXT, vae=TINY_VAE | {"block_out_channels": [4, 8], "scaling_factor": 0.18215},
              encoder=True, pictures={"small": (32, 24)},
              unet=TINY_UNET | {"block_out_channels": (4, 8), "in_channels": 9, "down_block_types": cross("Down", [False, True]), "up_block_types": cross("Up", [True, False]),
                                "attention_head_dim": (2, 4)},
              scheduler=PNDM | {"clip_sample": False}, runs=[
                  Run("inpaint", work="inpaint", steps=4, width=32, height=24),
                  Run("inpaint-partly", work="inpaint", strength=0.6, steps=5, width=32, height=24, image=False, scheduler=ANCESTRAL),
                  Run("inpaint-crop", work="inpaint", strength=1.0, steps=3, padding=2, width=24, height=24, image=False, scheduler=SDE),
              ]),
    # Stable Diffusion 2: v-prediction, linear projections, heads of one width.
    Variation("sd-two", family="sd", tokenizers="pair", seed=800, text=SMALL_TEXT | {"hidden_act": "gelu", "num_hidden_layers": 3}, vae=TINY_VAE | {"block_out_channels": [4, 8]},
              unet=TINY_UNET | {"block_out_channels": (4, 8), "down_block_types": cross("Down", [True, True]), "up_block_types": cross("Up", [True, True]),
                                "attention_head_dim": (2, 4)},
              scheduler=DDIM | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, runs=[
                  Run("text", steps=4, width=24, height=32, rescale=0.7),
                  Run("text-pndm", steps=4, width=24, height=32, image=False, clip_skip=1, scheduler={"_class_name": "PNDMScheduler", "skip_prk_steps": True, "timestep_spacing": "leading"}),
              ]),
    # SDXL from pictures; the statistics of its latents are heeded by some of diffusers' pipelines only.
    Variation("sdxl-edits", tokenizers="pair", seed=900, text=SMALL_TEXT | {"num_hidden_layers": 4}, text_2=SMALL_TEXT_2 | {"num_hidden_layers": 4},
              vae=TINY_VAE | {"latents_mean": [0.1, -0.2, 0.3, 0.05], "latents_std": [1.1, 0.9, 0.7, 1.3]}, encoder=True, tile=32,
              pictures={"small": (64, 64), "large": (76, 60)},
              unet=TINY_UNET | {"down_block_types": cross("Down", [True, True]), "up_block_types": cross("Up", [True, True]),
                                "attention_head_dim": (2, 4)},
              runs=[
                  Run("image", work="image", strength=0.6, steps=5, rescale=0.4, image=False),
                  Run("image-default", work="image", steps=8, negative=None, image=False, clip_skip=1, scheduler=SDE),
                  Run("image-three", work="image", strength=0.5, seeds=[5, 6, 7], steps=4, image=False, scheduler=ANCESTRAL),
                  Run("inpaint", work="inpaint", steps=4),
                  Run("inpaint-partly", work="inpaint", strength=0.5, steps=5, image=False, rescale=0.7, scheduler=SDE),
                  Run("inpaint-crop", work="inpaint", strength=0.7, steps=4, picture="large", padding=8, width=72, height=56, scheduler=ANCESTRAL),
                  Run("text-rescale", rescale=1.0, clip_skip=2, steps=3, image=False),
                  Run("text-three", seeds=[3, 9, 11], steps=3, width=48, height=40, image=False, scheduler=SDE),
              ]),
    # SDXL's refiner: the second text encoder alone, a score in place of the target size, only from pictures.
    Variation("sdxl-refiner", tokenizers="pair", refiner=True, seed=1000, text_2=SMALL_TEXT_2, vae=TINY_VAE | {"block_out_channels": [4, 8]}, encoder=True,
              pictures={"small": (32, 32)},
              unet=TINY_UNET | {"block_out_channels": (4, 8), "down_block_types": cross("Down", [False, True]), "up_block_types": cross("Up", [True, False]),
                                "attention_head_dim": (2, 4)},
              force_zeros=False, runs=[Run("image", work="image", strength=0.5, steps=4, width=32, height=32)]),
]
