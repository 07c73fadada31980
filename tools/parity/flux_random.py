#!/usr/bin/env python3
"""Make fixtures of random FLUX-shaped configs, so that the engine is compared with diffusers on pipelines nobody chose.

Heads, axes, depths, both text encoders, the VAE, the schedule, the kind of work, picture sizes and the way the files are
stored are all drawn from what diffusers accepts. A draw that diffusers itself refuses is drawn again. The test
`parity_random` of crates/engine runs this and compares; each folder's `variation.txt` says what was drawn.
"""

from __future__ import annotations

import os
import random

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402

import flux  # noqa: E402
from flux import DEV, SCHNELL, FluxRun, FluxVariation  # noqa: E402
from random_configs import WORDS, main, text  # noqa: E402

KINDS = ["text", "text", "image", "inpaint"]


def t5(r: random.Random) -> dict:
    buckets = r.choice([4, 8, 12, 20, 32, 32])
    return {"d_model": r.randint(6, 40), "d_kv": r.choice([2, 4, 6, 8, 16]), "num_heads": r.randint(1, 5), "d_ff": r.randint(9, 70),
            "num_layers": r.randint(0, 4), "feed_forward_proj": r.choice(["gated-gelu", "gated-gelu", "relu", "gelu", "gated-silu", "gated-relu", "silu"]),
            "layer_norm_epsilon": r.choice([1e-6, 1e-6, 1e-5, 1e-3]), "relative_attention_num_buckets": buckets,
            "relative_attention_max_distance": r.choice([buckets // 4 + 1, 40, 128, 300]), "tie_word_embeddings": r.random() < 0.5}


def transformer(r: random.Random) -> dict:
    axes = [2 * r.randint(1, 4) for _ in range(3)]
    return {"axes_dims_rope": tuple(axes), "attention_head_dim": sum(axes), "num_attention_heads": r.randint(1, 4), "num_layers": r.randint(0, 3),
            "num_single_layers": r.randint(0, 3), "guidance_embeds": r.random() < 0.5}


def vae(r: random.Random) -> dict:
    levels, groups = r.choice([1, 2, 3, 4]), r.choice([1, 2, 4])
    quant = r.random() < 0.3
    return {"block_out_channels": [groups * r.choice([1, 2, 3]) for _ in range(levels)], "norm_num_groups": groups, "layers_per_block": r.choice([1, 1, 2]),
            "latent_channels": r.choice([1, 2, 4, 5, 16]), "scaling_factor": r.choice([0.3611, 1.0, 1.7]), "shift_factor": r.choice([0.1159, 0.0, -0.4]),
            "use_quant_conv": quant, "use_post_quant_conv": quant, "mid_block_add_attention": r.random() < 0.8, "act_fn": r.choice(["silu", "silu", "mish", "gelu"])}


def scheduler(r: random.Random) -> dict:
    config = dict(r.choice([SCHNELL, DEV, DEV]))
    if config["use_dynamic_shifting"]:
        config |= r.choice([{}, {"base_shift": 0.3, "max_shift": 2.0}, {"base_image_seq_len": 4, "max_image_seq_len": 64}, {"time_shift_type": "linear"}])
    else:
        config["shift"] = r.choice([1.0, 3.0, 0.7])
    return config | r.choice([{}, {}, {}, {"shift_terminal": 0.1}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}])


def run(r: random.Random, name: str, kind: str, guided: bool, factor: int) -> FluxRun:
    words = lambda: " ".join(r.choice(WORDS) for _ in range(r.choice([0, 1, 5, 12, 90])))  # noqa: E731
    side = lambda: 2 * factor * r.randint(1, max(1, 64 // (2 * factor)))  # noqa: E731
    true_cfg = r.choice([1.0, 1.0, 2.0, 4.5])
    seeds = [r.getrandbits(40) for _ in range(r.choice([1, 1, 2]))]
    # An input picture is made of squares of eight pixels.
    width, height = (max(16, side()), max(16, side())) if kind != "text" else (side(), side())
    return FluxRun(name, kind=kind, prompt=words(), negative=r.choice([None, "", words()]), steps=r.randint(2, 6), guidance=r.choice([1.0, 3.5, 7.0]) if guided else 0.0,
                   true_cfg=true_cfg, width=width, height=height, seeds=seeds,
                   strength=r.choice([0.5, 0.75, 0.95, 1.0]), tokens=r.choice([1, 7, 48, 130]),
                   # Two pictures of one call are rounded otherwise than one, which a random VAE multiplies by up to fifty.
                   image=len(seeds) == 1)


def draw(name: str, _: int, seed: int) -> FluxVariation:
    r = random.Random(seed)
    clip, encoder, network, codec = text(r, False), t5(r), transformer(r), vae(r)
    factor = 2 ** (len(codec["block_out_channels"]) - 1)
    runs = [run(r, f"run{i}", r.choice(KINDS), network["guidance_embeds"], factor) for i in range(2)]
    return FluxVariation(name, runs, clip=clip, t5=encoder, transformer=network, vae=codec, scheduler=scheduler(r), seed=seed,
                         dtype=r.choice([torch.float32, torch.float16, torch.bfloat16]), spiece=r.random() < 0.3, old_t5_files=r.random() < 0.3)


def large(name: str, seed: int) -> FluxVariation:
    """Pictures of 256 pixels and more, of which the engine computes attention and the VAE otherwise."""
    r = random.Random(seed)
    axes = r.choice([(8, 12, 12), (16, 24, 24), (4, 6, 6)])
    network = transformer(r) | {"axes_dims_rope": axes, "attention_head_dim": sum(axes), "num_layers": 1, "num_single_layers": 1,
                             "num_attention_heads": -(-128 // sum(axes)) + r.randint(0, 1)}
    codec = vae(r) | {"block_out_channels": [80, 48], "norm_num_groups": 16, "layers_per_block": 1}
    made = run(r, "run0", "text", network["guidance_embeds"], 2)
    made.width, made.height, made.steps, made.seeds, made.image = 16 * r.randint(16, 18), 16 * r.randint(16, 18), 2, [seed], True
    return FluxVariation(name, [made], clip=text(r, False), t5=t5(r), transformer=network, vae=codec, scheduler=scheduler(r), seed=seed,
                         dtype=r.choice([torch.float32, torch.bfloat16]), double=True)


if __name__ == "__main__":
    main(__doc__, draw, flux.write, large)
