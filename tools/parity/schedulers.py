#!/usr/bin/env python3
"""Record the schedules of diffusers' EulerDiscreteScheduler for the tests of crates/engine.

Every config key takes every value it can, most of them in every combination; each case holds the timesteps, the
sigmas, the scale of the first noise and, where predictions are compared, what each step makes of two numbers.
Deterministic: no random numbers. Needs diffusers 0.42, torch and scipy (for beta sigmas).
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import EulerDiscreteScheduler

SDXL = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SPACINGS = ("leading", "trailing", "linspace")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")
SIGMAS = ({}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True},
          {"interpolation_type": "log_linear"})
PREDICTIONS = ("epsilon", "v_prediction", "sample")


def configs():
    """(config, step counts, whether steps are recorded)."""
    for spacing, beta, sigmas, zero in itertools.product(SPACINGS, BETAS, SIGMAS, (False, True)):
        config = SDXL | sigmas | {"beta_schedule": beta, "timestep_spacing": spacing}
        yield config | ({"rescale_betas_zero_snr": True} if zero else {}), (1, 2, 4, 7), False
    # Counts that do not divide 1000 decide how arange ends and where halves round to.
    for spacing in SPACINGS:
        for sigmas in SIGMAS:
            yield SDXL | sigmas | {"timestep_spacing": spacing}, (16, 20, 50), False
        yield SDXL | {"timestep_spacing": spacing}, (3, 6, 9, 11, 13, 15, 30, 33, 1000 // 3, 1001), False
    for spacing, prediction, zero in itertools.product(SPACINGS, PREDICTIONS, (False, True)):
        config = SDXL | {"timestep_spacing": spacing, "prediction_type": prediction}
        yield config | ({"rescale_betas_zero_snr": True} if zero else {}), (1, 4, 20), True
    yield SDXL | {"timestep_spacing": "trailing", "prediction_type": "v_prediction",
                  "rescale_betas_zero_snr": True}, (8, 12, 25, 30, 50), True
    for prediction, sigmas in itertools.product(PREDICTIONS, SIGMAS):
        yield SDXL | sigmas | {"timestep_type": "continuous", "prediction_type": prediction}, (5,), True
    for spacing, sigmas in itertools.product(SPACINGS, SIGMAS):
        yield SDXL | sigmas | {"timestep_spacing": spacing, "final_sigmas_type": "sigma_min"}, (5,), True
    for sigmas in SIGMAS:
        yield SDXL | sigmas | {"sigma_min": 0.002, "sigma_max": 80.0}, (6,), False
    for offset in (0, 1, 7):
        yield SDXL | {"timestep_spacing": "leading", "steps_offset": offset}, (5, 1000), False
    yield {}, (5,), True
    yield {"num_train_timesteps": 100, "timestep_spacing": "trailing"}, (7, 100, 130), False
    yield {"trained_betas": [0.001 * (i + 1) for i in range(40)], "num_train_timesteps": 40}, (1, 9), False


def short(values) -> list:
    """f32 numbers with as few digits as tell them apart."""
    return [float(str(np.float32(v))) for v in values]


def record(config: dict, steps: int, with_steps: bool) -> dict:
    scheduler = EulerDiscreteScheduler(**config)
    scheduler.set_timesteps(steps)
    case = {"config": config, "steps": steps, "init_noise_sigma": short([scheduler.init_noise_sigma])[0]}
    if steps <= 64:
        case |= {"timesteps": short(scheduler.timesteps), "sigmas": short(scheduler.sigmas)}
    else:  # long ones: the length and the ends tell enough
        case |= {"timesteps": short(scheduler.timesteps[[0, 1, -2, -1]]), "sigmas": short(scheduler.sigmas[[0, 1, -2, -1]]),
                 "lengths": [len(scheduler.timesteps), len(scheduler.sigmas)]}
    if with_steps:
        scheduler.set_begin_index(0)
        case["next"] = []
        for i, t in enumerate(scheduler.timesteps):
            sigma = scheduler.sigmas[i]
            sample = torch.stack([0.7 * (sigma**2 + 1) ** 0.5, -1.3 * sigma])
            scaled = scheduler.scale_model_input(sample, t)
            after = scheduler.step(torch.tensor([0.3, -0.9]), t, sample, return_dict=False)[0]
            case["next"].append(short([*sample, *scaled, *after]))
    return case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    arguments = parser.parse_args()
    cases = [record(config, steps, with_steps) for config, counts, with_steps in configs() for steps in counts]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    text = f'{{"diffusers":"{diffusers.__version__}","torch":"{torch.__version__}","cases":[\n{lines}\n]}}\n'
    arguments.out.write_text(text)
    print(f"{arguments.out}: {len(cases)} schedules, {len(text) / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
