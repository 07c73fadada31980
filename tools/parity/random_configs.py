#!/usr/bin/env python3
"""Make fixtures of random SD- and SDXL-shaped configs, so that the engine is compared with diffusers on pipelines nobody chose.

Widths, heads, depths, block types, norms, activations, projections, schedules, picture sizes, kinds of work and the
way the files are stored are all drawn from what diffusers accepts. A draw that diffusers itself refuses is drawn again. The test
`parity_random` of crates/engine runs this and compares; each folder's `variation.txt` says what was drawn.
"""

from __future__ import annotations

import argparse
import os
import pprint
import random
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402

import pipelines  # noqa: E402
import variations  # noqa: E402
from pipelines import Run, Variation  # noqa: E402

WORDS = "a the red cat dog squirrel painting of & it's , . ! ## 42 naïve 日本 <|endoftext|> (big:1.3) The OF".split()


def text(r: random.Random, projects: bool) -> dict:
    heads = r.choice([1, 2, 3, 4])
    config = {"num_attention_heads": heads, "hidden_size": heads * r.choice([4, 5, 8, 12]), "num_hidden_layers": r.randint(1, 6),
              "intermediate_size": r.randint(9, 70), "hidden_act": r.choice(["quick_gelu", "gelu"]), "layer_norm_eps": r.choice([1e-5, 1e-6, 1e-3])}
    if r.random() < 0.3:
        config["eos_token_id"] = 2
    if projects:
        config["projection_dim"] = r.randint(5, 50)
    return config


def unet(r: random.Random) -> dict:
    levels = r.choice([1, 2, 2, 3, 3, 4])
    groups = r.choice([1, 2, 4])
    widths = [groups * r.choice([2, 4, 6, 8]) for _ in range(levels)]
    attends = [r.random() < 0.6 for _ in range(levels)]
    if not any(attends):
        attends[r.randrange(levels)] = True
    layers = [r.choice([1, 1, 2, 3]) for _ in range(levels)]
    if r.random() < 0.5:
        layers = layers[0]
    heads = [r.choice([h for h in (1, 2, 3, 4, 6, 8) if w % h == 0]) for w in widths]
    if r.random() < 0.2:
        heads = 1
    depth = [r.choice([1, 1, 2, 3]) for _ in range(levels)]
    config = {
        "block_out_channels": tuple(widths), "norm_num_groups": groups, "layers_per_block": layers, "attention_head_dim": heads,
        "down_block_types": tuple(("CrossAttn" if a else "") + "DownBlock2D" for a in attends),
        "up_block_types": tuple(("CrossAttn" if a else "") + "UpBlock2D" for a in reversed(attends)),
        "transformer_layers_per_block": tuple(depth) if r.random() < 0.7 else depth[0],
        "use_linear_projection": r.random() < 0.5, "addition_time_embed_dim": 2 * r.randint(1, 12),
    }
    sometimes = {
        "act_fn": ["swish", "mish", "gelu", "relu", "silu"], "norm_eps": [1e-6, 1e-3], "flip_sin_to_cos": [False], "freq_shift": [1],
        "center_input_sample": [True], "resnet_time_scale_shift": ["scale_shift"], "upcast_attention": [True],
        "mid_block_type": [None, "UNetMidBlock2D"], "mid_block_scale_factor": [1.4142, 0.7], "conv_in_kernel": [1, 5], "conv_out_kernel": [1, 5],
        "time_embedding_dim": [24, 40], "time_embedding_act_fn": ["silu", "gelu"], "timestep_post_act": ["silu", "mish"],
        "time_cond_proj_dim": [8, 11], "only_cross_attention": [True, tuple(r.random() < 0.5 for _ in range(levels))],
        "dropout": [0.1], "resnet_out_scale_factor": [1.3], "resnet_skip_time_act": [True], "sample_size": [16],
    }
    for key, values in sometimes.items():
        if r.random() < 0.15:
            config[key] = r.choice(values)
    if r.random() < 0.2 and isinstance(layers, int):
        config["transformer_layers_per_block"] = [[r.randint(0, 2) for _ in range(layers)] for _ in range(levels)]
        config["reverse_transformer_layers_per_block"] = [[r.randint(0, 2) for _ in range(layers + 1)] for _ in range(levels)]
    return config


def vae(r: random.Random) -> dict:
    levels, groups = r.choice([1, 2, 3, 4, 4]), r.choice([1, 2, 4])
    config = {"block_out_channels": [groups * r.choice([1, 2, 3, 4]) for _ in range(levels)], "norm_num_groups": groups,
              "layers_per_block": r.choice([1, 1, 2]), "scaling_factor": r.choice([0.13025, 0.18215, 1.0])}
    sometimes = {"mid_block_add_attention": [False], "use_post_quant_conv": [False], "shift_factor": [0.3], "act_fn": ["mish", "relu", "gelu"],
                 "latents_mean": [[0.3, -0.1, 0.0, 1.0]], "latents_std": [[0.8, 1.0, 1.2, 0.5]], "force_upcast": [False]}
    for key, values in sometimes.items():
        if r.random() < 0.2:
            config[key] = r.choice(values)
    return config


def scheduler(r: random.Random) -> dict:
    config = {"timestep_spacing": r.choice(["leading", "trailing", "linspace"]), "steps_offset": r.choice([0, 1]),
              "prediction_type": r.choice(["epsilon", "epsilon", "v_prediction", "sample"])}
    config |= r.choice([{}, {}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"interpolation_type": "log_linear"}])
    if config["prediction_type"] == "v_prediction" and r.random() < 0.5:
        config["rescale_betas_zero_snr"] = True
    sometimes = {"beta_schedule": ["linear"], "final_sigmas_type": ["sigma_min"], "timestep_type": ["continuous"], "beta_end": [0.02]}
    for key, values in sometimes.items():
        if r.random() < 0.2:
            config[key] = r.choice(values)
    return config


SCHEDULERS = [{}, {}, variations.PNDM, variations.ANCESTRAL, variations.SDE, variations.DDIM, variations.HEUN]


def run(r: random.Random, name: str, factor: int, works: list[str], sizes: dict) -> Run:
    words = lambda: " ".join(r.choice(WORDS) for _ in range(r.choice([0, 1, 5, 12, 90])))  # noqa: E731
    step = max(8, factor)  # diffusers rounds sides down to it
    made = Run(name, prompt=words(), negative=r.choice([None, "", words()]), steps=r.randint(1, 6), guidance=r.choice([0.0, 1.0, 1.5, 3.0, 5.0]),
               width=step * r.randint(1, 96 // step), height=step * r.randint(1, 96 // step), seed=r.getrandbits(40), work=r.choice(works))
    if made.work == "text":
        return made
    made.picture, made.scheduler = r.choice(list(sizes)), r.choice(SCHEDULERS)
    made.steps = r.randint(2, 6)
    made.strength = r.choice([None, 1.0, round(r.uniform(1 / made.steps + 0.01, 1.0), 3)])
    if made.work == "image" and made.strength is None:
        made.steps = max(made.steps, 4)  # of SDXL's 0.3 one step is left; none, which diffusers takes for noise alone, is refused
    if made.work == "inpaint" and r.random() < 0.4:
        made.padding = r.choice([0, 3, 20])
    return made


def draw(name: str, i: int, seed: int) -> Variation:
    r = random.Random(seed)
    first, second, network, codec = text(r, False), text(r, True), unet(r), vae(r)
    factor = 2 ** (len(codec["block_out_channels"]) - 1)
    family = r.choice(["sd", "sdxl", "sdxl"])
    masked = r.random() < 0.2
    if masked:
        network["in_channels"] = 9
    works = ["inpaint"] if masked else ["text", "image", "inpaint"]
    sizes = {"small": (8 * r.randint(4, 10), 8 * r.randint(4, 10)), "odd": (r.randint(33, 90), r.randint(33, 90))}
    runs = [run(r, f"run{i}", factor, works if i else works[:1], sizes) for i in range(3)]
    for made in runs:
        if made.work == "text" and r.random() < 0.3:
            made.rescale = round(r.uniform(0.1, 1.0), 2)
        if r.random() < 0.3:
            made.clip_skip = r.randint(0, min(first["num_hidden_layers"], second["num_hidden_layers"]) - 1)
    if family == "sd":
        network.pop("addition_time_embed_dim")
        codec["scaling_factor"] = 0.18215
    schedule = scheduler(r)
    if i % 5 == 0:  # a few steps from pure noise, which the committed fixtures leave out (variations.py)
        schedule = variations.ZERO_SNR
    return Variation(name, runs, family=family, text=first, text_2=second, unet=network, vae=codec, pictures=sizes,
                     scheduler=schedule, force_zeros=r.random() < 0.7, quiet=r.choice([1.0, 1.0, 0.1]), seed=seed,
                     dtype=r.choice([torch.float32, torch.float16, torch.bfloat16]), tokenizers=r.choice(["single", "pair", "both"]),
                     text_prefix=r.random() < 0.5, shards=r.random() < 0.3, encoder=True,
                     tile=factor * 4 * r.randint(1, 2))


def large(name: str, seed: int) -> Variation:
    """Few layers, but wide ones over pictures of 256 pixels and more: what the engine computes otherwise for large pictures."""
    r = random.Random(seed)
    first, second, network, codec = text(r, False), text(r, True), unet(r), vae(r)
    widths, family = r.choice([(256, 320), (128, 256), (64, 256, 320)]), r.choice(["sd", "sdxl"])
    attends = [r.random() < 0.7 for _ in widths[1:]] + [True]
    network = {
        "block_out_channels": widths, "norm_num_groups": r.choice([8, 32]), "layers_per_block": 1, "attention_head_dim": r.choice([2, 4, 8]),
        "down_block_types": tuple(("CrossAttn" if a else "") + "DownBlock2D" for a in attends),
        "up_block_types": tuple(("CrossAttn" if a else "") + "UpBlock2D" for a in reversed(attends)),
        "transformer_layers_per_block": 1, "use_linear_projection": r.random() < 0.5, "addition_time_embed_dim": 2 * r.randint(1, 12)}
    codec = {"block_out_channels": r.choice([[64, 96, 64], [80, 32, 48]]), "norm_num_groups": r.choice([2, 4, 8]), "layers_per_block": 1,
             "scaling_factor": r.choice([0.13025, 0.18215])}
    if family == "sd":
        network.pop("addition_time_embed_dim")
        codec["scaling_factor"] = 0.18215
    made = run(r, "run0", 4, ["text", "image"], {"large": (300, 260)})
    made.width, made.height, made.steps = 8 * r.randint(32, 40), 8 * r.randint(32, 40), 3
    if made.work != "text":
        made.strength = 0.7
    return Variation(name, [made], family=family, text=first, text_2=second, unet=network, vae=codec, pictures={"large": (300, 260)},
                     scheduler=scheduler(r), seed=seed, dtype=r.choice([torch.float32, torch.float16]), encoder=True, tile=32, double=True)


def main(description: str, draw, write, large=None) -> None:
    """The command of a script whose `draw(name, i, seed)` describes config `i`, and whose `write(variation, folder)` makes it;
    `large(name, seed)` describes one of those with large pictures."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one fixture for each config")
    parser.add_argument("--count", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="config i is drawn from seed + i (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--large", action="store_true", help="large pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for i in range(arguments.seed, arguments.seed + arguments.count):
        for attempt in range(100):
            name, seed = f"seed-{i}", i + 1_000_003 * attempt
            variation = large(name, seed) if arguments.large else draw(name, i, seed)
            try:
                write(variation, arguments.out)
            except (ValueError, RuntimeError, TypeError, NotImplementedError, IndexError, AttributeError) as error:
                print(f"seed {i}: diffusers refuses draw {attempt}: {str(error).splitlines()[0][:150]}", flush=True)
                shutil.rmtree(arguments.out / variation.name, ignore_errors=True)
                continue
            (arguments.out / variation.name / "variation.txt").write_text(pprint.pformat(vars(variation), width=140) + "\n")
            break
        else:
            raise SystemExit(f"seed {i}: diffusers refused a hundred draws")
    print(f"{arguments.count} fixtures in {arguments.out}")


if __name__ == "__main__":
    main(__doc__, draw, pipelines.write, large)
