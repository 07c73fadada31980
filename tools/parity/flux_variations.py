"""The FLUX pipelines that are committed as fixtures, each as different from the others as such configs get."""

from __future__ import annotations

import torch

from flux import DEV, NEGATIVE, FluxRun, FluxVariation

ALL = [
    # As schnell: not told of guidance, no shift of the schedule.
    FluxVariation("schnell", runs=[
        FluxRun("plain", steps=4, width=48, height=48),
        FluxRun("wide", width=96, height=32, steps=2, image=False),
        FluxRun("two-seeds", seeds=[11, 12], width=32, height=48, steps=2, image=False),
        FluxRun("true-guidance", negative=NEGATIVE, true_cfg=3.0, width=32, height=32, steps=2, image=False),
        FluxRun("from-picture", kind="image", width=48, height=32, steps=4, seeds=[3, 4]),
        FluxRun("repainted", kind="inpaint", width=48, height=64, steps=4, strength=0.85, image=False),
        FluxRun("long-prompt", prompt="the red squirrel, a cat & a dog, " * 12, tokens=20, width=32, height=32, steps=1, image=False),
    ]),
    # As dev: told of guidance, a schedule shifted by the picture's size; other heads, axes and depths.
    FluxVariation("dev", seed=100, scheduler=DEV, t5={"d_model": 20, "d_kv": 8, "num_heads": 2}, old_t5_files=True,
                  transformer={"guidance_embeds": True, "num_layers": 1, "num_single_layers": 3, "attention_head_dim": 8,
                               "num_attention_heads": 3, "axes_dims_rope": (4, 2, 2)},
                  runs=[
                      FluxRun("plain", width=48, height=80, negative=NEGATIVE),
                      FluxRun("true-guidance", negative="", true_cfg=2.0, guidance=1.0, width=80, height=32, steps=2, image=False),
                      FluxRun("strong", kind="image", strength=1.0, width=32, height=32, steps=2, image=False),
                      FluxRun("repainted", kind="inpaint", strength=1.0, negative=NEGATIVE, true_cfg=1.5, width=48, height=32, steps=3),
                      FluxRun("more-steps", steps=7, guidance=7.5, width=32, height=32, image=False, tokens=80),
                  ]),
    # What few files use: the first T5 with its one matrix, a VAE of three levels with quantising convolutions, blocks of one
    # kind only, a linear shift; stored in bf16, T5's tokenizer as its pieces.
    FluxVariation("old-t5", seed=200, dtype=torch.bfloat16, spiece=True, clip={"eos_token_id": 2, "hidden_act": "gelu"},
                  t5={"feed_forward_proj": "relu", "d_kv": 4, "num_heads": 5, "num_layers": 3, "relative_attention_num_buckets": 12,
                      "relative_attention_max_distance": 40, "layer_norm_epsilon": 1e-4},
                  transformer={"num_layers": 3, "num_single_layers": 0, "attention_head_dim": 10, "num_attention_heads": 1, "axes_dims_rope": (4, 2, 4)},
                  vae={"block_out_channels": [4, 6, 8], "norm_num_groups": 2, "latent_channels": 5, "use_quant_conv": True,
                       "use_post_quant_conv": True, "scaling_factor": 1.5, "shift_factor": 0.3, "mid_block_add_attention": False},
                  scheduler=DEV | {"time_shift_type": "linear", "base_image_seq_len": 20, "max_image_seq_len": 80}, runs=[
                      FluxRun("plain", width=40, height=24),
                      FluxRun("from-picture", kind="image", width=24, height=32, strength=0.5, steps=5, image=False),
                  ]),
    # No blocks of two streams, a gate with silu, a patch whose numbers are laid out by the network itself.
    FluxVariation("single-stream", seed=300, t5={"feed_forward_proj": "gated-silu", "num_layers": 1},
                  transformer={"num_layers": 0, "num_single_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2, "axes_dims_rope": (2, 4, 2),
                               "out_channels": 4, "patch_size": 2},
                  scheduler={"shift": 3.0}, runs=[FluxRun("shifted", width=48, height=16, image=False)]),
]
