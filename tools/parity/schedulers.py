#!/usr/bin/env python3
"""Record schedules and whole trajectories of diffusers' schedulers for the tests of crates/engine.

For each class every value of every key occurs with every value of every other key (pairwise); each case holds the
timesteps, the sigmas, the scale of the first noise, and the way of a few numbers through all steps. The network is a
formula, and noise is a formula too, so that both sides have the same without a file. Some cases begin in the middle, as
image to image does, and some are switched to from another class, as `from_config` does. What diffusers refuses, or
turns into NaN, is recorded as refused. Deterministic. Needs diffusers 0.42, torch and scipy (for beta sigmas). Cases that name
the seed of torchsde's noise need torchsde 0.2.6 and are left out without it; elsewhere its noise is replaced.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import importlib.util
import itertools
import json
import random
import sys
import types
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch

HAS_TORCHSDE = importlib.util.find_spec("torchsde") is not None
# The module of DPMSolverSDEScheduler imports it, but what it would be used for is replaced.
if not HAS_TORCHSDE:
    sys.modules["torchsde"] = types.ModuleType("torchsde")

SHAPE = (2, 2, 2, 2)
SIZE = 16

BETAS = [{}, {"beta_schedule": "linear"}, {"beta_schedule": "scaled_linear"}, {"beta_schedule": "squaredcos_cap_v2"}]
ENDS = [{}, {"beta_start": 0.00085, "beta_end": 0.012}]
SPACINGS = [{}, *({"timestep_spacing": name} for name in ("leading", "trailing", "linspace"))]
OFFSETS = [{}, {"steps_offset": 1}]
SIGMAS = [{}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}]
LIMITS = [{}, {"sigma_min": 0.05, "sigma_max": 9.0}]
PREDICTIONS = [{"prediction_type": name} for name in ("epsilon", "v_prediction", "sample")]
FLOW_TOO = [*PREDICTIONS, {"prediction_type": "flow_prediction"}]
ZERO = [{}, {"rescale_betas_zero_snr": True}]
FINAL = [{}, {"final_sigmas_type": "sigma_min"}]
THRESHOLDS = [{}, {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9}]
CLIPS = [{}, {"clip_sample": False}, {"clip_sample": True, "clip_sample_range": 1.2}]
FLOW = [{}, {"use_flow_sigmas": True}, {"use_flow_sigmas": True, "flow_shift": 3.0},
        {"use_flow_sigmas": True, "use_dynamic_shifting": True}]
TRAIN = [{}, {}, {"num_train_timesteps": 200}]
STEPS = [{"steps": n} for n in (1, 2, 4, 7, 20)]
BEGINS = [{}, {"strength": 0.6}]

# Of each class: groups of keys, one of each group in a case.
CLASSES: dict[str, list[list[dict]]] = {
    "EulerDiscreteScheduler": [
        BETAS, ENDS, SPACINGS, OFFSETS, [*SIGMAS, {"interpolation_type": "log_linear"}], LIMITS, PREDICTIONS, ZERO, FINAL,
        TRAIN, [{}, {"timestep_type": "continuous"}], STEPS, BEGINS],
    "EulerAncestralDiscreteScheduler": [BETAS, ENDS, SPACINGS, OFFSETS, PREDICTIONS[:2], ZERO, TRAIN, STEPS, BEGINS],
    "HeunDiscreteScheduler": [
        [*BETAS, {"beta_schedule": "exp"}], ENDS, SPACINGS, OFFSETS, SIGMAS, LIMITS, PREDICTIONS, CLIPS, TRAIN, STEPS, BEGINS],
    "DPMSolverMultistepScheduler": [
        BETAS, ENDS, SPACINGS, OFFSETS, [*SIGMAS, {"use_lu_lambdas": True}], LIMITS, FLOW_TOO, ZERO, FINAL, THRESHOLDS, FLOW,
        TRAIN, [{"algorithm_type": name} for name in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++")],
        [{"solver_order": n} for n in (1, 2, 3)], [{"solver_type": "midpoint"}, {"solver_type": "heun"}],
        [{}, {"lower_order_final": False}], [{}, {"euler_at_final": True}], [{}, {"lambda_min_clipped": -5.1}],
        [*STEPS, {"steps": 16}], BEGINS],
    "DPMSolverSinglestepScheduler": [
        BETAS, ENDS, SIGMAS, LIMITS, FLOW_TOO, FINAL, THRESHOLDS, FLOW, TRAIN,
        [{"algorithm_type": name} for name in ("dpmsolver", "dpmsolver++", "sde-dpmsolver++")],
        [{"solver_order": n} for n in (1, 2, 3)], [{"solver_type": "midpoint"}, {"solver_type": "heun"}],
        [{}, {"lower_order_final": True}], [{}, {"lambda_min_clipped": -5.1}], [*STEPS, {"steps": 9}], BEGINS],
    "DPMSolverSDEScheduler": [BETAS, ENDS, SPACINGS, OFFSETS, SIGMAS, LIMITS, PREDICTIONS[:2], TRAIN, STEPS, BEGINS],
    "DDIMScheduler": [
        BETAS, ENDS, SPACINGS, OFFSETS, PREDICTIONS, ZERO, CLIPS, THRESHOLDS, [{}, {"set_alpha_to_one": False}], TRAIN,
        [{}, {"eta": 0.7}, {"eta": 1.0}], [{}, {"use_clipped_model_output": True}], STEPS, BEGINS],
    "PNDMScheduler": [
        BETAS, ENDS, SPACINGS, OFFSETS, PREDICTIONS[:2], [{}, {"set_alpha_to_one": True}], TRAIN,
        [{"skip_prk_steps": True}, {"skip_prk_steps": False}], STEPS, BEGINS],
    "UniPCMultistepScheduler": [
        BETAS, ENDS, SPACINGS, OFFSETS, SIGMAS, LIMITS, FLOW_TOO, ZERO, FINAL, THRESHOLDS,
        [*FLOW, {"use_flow_sigmas": True, "shift_terminal": 0.1},
         {"use_flow_sigmas": True, "use_dynamic_shifting": True, "time_shift_type": "linear"}], TRAIN,
        [{"solver_order": n} for n in (1, 2, 3, 4)], [{"solver_type": "bh1"}, {"solver_type": "bh2"}],
        [{}, {"predict_x0": False}], [{}, {"lower_order_final": False}], [{}, {"disable_corrector": [0, 2]}], STEPS, BEGINS],
    "LCMScheduler": [
        BETAS, ENDS, PREDICTIONS, ZERO, CLIPS, THRESHOLDS, [{}, {"set_alpha_to_one": False}],
        [{}, {"original_inference_steps": 40}], [{}, {"timestep_scaling": 3.0}], TRAIN, STEPS, BEGINS],
    "FlowMatchEulerDiscreteScheduler": [
        SIGMAS, [{}, {"sigma_min": 0.02, "sigma_max": 0.95}], [{}, {"shift": 3.0}], [{}, {"shift_terminal": 0.1}],
        [{}, {"use_dynamic_shifting": True}, {"use_dynamic_shifting": True, "time_shift_type": "linear"}],
        [{}, {"base_shift": 0.3, "max_shift": 1.4, "base_image_seq_len": 100, "max_image_seq_len": 5000}],
        [{}, {"invert_sigmas": True}], [{}, {"stochastic_sampling": True}], [{}, {"pipeline_sigmas": True}], TRAIN, STEPS,
        BEGINS],
}

# What a case asks for beside the keys of the config.
ASKED = ("steps", "strength", "pipeline_sigmas")
SEQ_LEN = 1024


def plain(key: int) -> torch.Tensor:
    """Numbers between -1.75 and 1.75 that look random and are the same on both sides."""
    numbers = [((key * 7919 + i * 104729 + 12345) * 2654435761 % 2**32) / 2**32 for i in range(SIZE)]
    return torch.tensor([(number - 0.5) * 3.5 for number in numbers], dtype=torch.float32).reshape(SHAPE)


def network(sample: torch.Tensor, t: float) -> torch.Tensor:
    return sample * 0.35 + torch.sin(plain(-1) + 0.01 * t) * 0.8


class Noise:
    """Stands for `randn_tensor`: the first, the second … noise of a trajectory."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, *_, dtype=torch.float32, **__) -> torch.Tensor:
        self.drawn += 1
        return plain(self.drawn).to(dtype)


class Brownian:
    """Stands for torchsde's tree: the first half of a step has noise of its own, the whole the sum of both halves."""

    def __init__(self, *_, noise: Noise) -> None:
        self.noise = noise
        self.first = None

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        if self.first is None:
            self.first = (sigma_next, self.noise())
            return self.first[1]
        middle, first = self.first
        self.first = None
        halves = (sigma - middle).abs(), (middle - sigma_next).abs()
        both = halves[0] + halves[1]
        return (halves[0] / both) ** 0.5 * first + (halves[1] / both) ** 0.5 * self.noise()


class OnePicture:
    """torchsde's tree of a seed for the first picture; here every picture has the noise of it."""

    def __init__(self, x: torch.Tensor, *arguments) -> None:
        self.tree = TREE_NOISE(x[:1], *arguments)

    def __call__(self, *arguments) -> torch.Tensor:
        return self.tree(*arguments)


TREE_NOISE = importlib.import_module("diffusers.schedulers.scheduling_dpmsolver_sde").BrownianTreeNoiseSampler

MODULES = {
    "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete", "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep", "DPMSolverSDEScheduler": "dpmsolver_sde",
    "DDIMScheduler": "ddim", "LCMScheduler": "lcm", "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete",
}


def scheduler_class(name: str, noise: Noise, config: dict):
    """The class, with its noise replaced, but for torchsde's of a seed."""
    if name not in MODULES:
        return getattr(diffusers, name)
    module = importlib.import_module(f"diffusers.schedulers.scheduling_{MODULES[name]}")
    if name == "DPMSolverSDEScheduler":
        module.BrownianTreeNoiseSampler = (OnePicture if "noise_sampler_seed" in config
                                           else lambda *arguments: Brownian(*arguments, noise=noise))
    else:
        module.randn_tensor = noise
    return getattr(module, name)


def calculate_shift(config) -> float:
    base, most = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (high - low) / (most - base)
    return SEQ_LEN * slope + (low - slope * base)


def set_timesteps(scheduler, config: dict, asked: dict) -> None:
    extra = {}
    if asked.get("pipeline_sigmas"):
        extra["sigmas"] = np.linspace(1.0, 1 / asked["steps"], asked["steps"])
    if config.get("use_dynamic_shifting"):
        extra["mu"] = calculate_shift(config)
    scheduler.set_timesteps(asked["steps"], **extra)


def short(values) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def trajectory(scheduler, name: str, config: dict, begin: int) -> list[torch.Tensor]:
    """The samples, from the first to the last."""
    extra = {key: config[key] for key in ("eta", "use_clipped_model_output") if key in config}
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    timesteps = scheduler.timesteps[begin:]
    noise = plain(0)
    if begin == 0:
        sample = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    else:
        sample = (scheduler.add_noise(plain(-2), noise, timesteps[:1]) if hasattr(scheduler, "add_noise")
                  else scheduler.scale_noise(plain(-2), timesteps[:1], noise))
    samples = [sample]
    for t in timesteps:
        scaled = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        sample = scheduler.step(network(scaled, float(t)), t, sample, **extra, return_dict=False)[0]
        samples.append(sample)
    return samples


def record(name: str, config: dict, asked: dict, origin: str | None = None) -> dict:
    case = {"class": name, "config": config, **asked} | ({"from": origin} if origin else {})
    noise = Noise()
    cls = scheduler_class(name, noise, config)
    try:
        source = {"_class_name": origin, **config} if origin else config
        step_keys = {key: value for key, value in source.items() if key not in ("eta", "use_clipped_model_output")}
        scheduler = cls.from_config(step_keys)
        set_timesteps(scheduler, config, asked)
        steps, begin = asked["steps"], 0
        if "strength" in asked:
            begin = (steps - min(int(steps * asked["strength"]), steps)) * getattr(scheduler, "order", 1)
        samples = trajectory(scheduler, name, config, begin)
        if len(samples) < 2 or not all(sample.isfinite().all() for sample in samples):
            raise ValueError("not finite")
    except (ValueError, IndexError, NotImplementedError, AssertionError, UnboundLocalError, TypeError, RuntimeError) as error:
        return case | {"refused": str(error).splitlines()[0][:80] if str(error) else type(error).__name__}
    case["init_noise_sigma"] = float(getattr(scheduler, "init_noise_sigma", 1.0))
    case["timesteps"] = short(scheduler.timesteps)
    if hasattr(scheduler, "sigmas") and not name.startswith(("DDIM", "PNDM", "LCM")):
        case["sigmas"] = short(scheduler.sigmas)
    # Two numbers of each step tell where the way parts, and the last samples are compared whole.
    case["way"] = short([sample.flatten()[[0, SIZE - 1]] .tolist() for sample in samples])
    case["last"] = short(samples[-1].flatten())
    return case


def split(chosen) -> tuple[dict, dict]:
    merged = {}
    for group in chosen:
        merged |= group
    return ({key: value for key, value in merged.items() if key not in ASKED},
            {key: value for key, value in merged.items() if key in ASKED})


def pairwise(groups: list[list[dict]], draw: random.Random):
    """Choices of one of each group, so that every two of different groups occur together."""
    pairs = {(a, i, b, j) for a, b in itertools.combinations(range(len(groups)), 2)
             for i in range(len(groups[a])) for j in range(len(groups[b]))}
    while pairs:
        fixed = draw.choice(sorted(pairs))
        best, covered = None, set()
        for _ in range(40):
            choice = [draw.randrange(len(group)) for group in groups]
            choice[fixed[0]], choice[fixed[2]] = fixed[1], fixed[3]
            new = {(a, choice[a], b, choice[b]) for a, b in itertools.combinations(range(len(groups)), 2)} & pairs
            if len(new) > len(covered):
                best, covered = choice, new
        pairs -= covered
        yield [group[i] for group, i in zip(groups, best)]


SDXL = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def chosen_cases():
    """Those that people use, at the counts of steps that people use, and switches of class."""
    for name in CLASSES:
        config = {} if name.startswith("Flow") else SDXL
        for sigmas in ({}, {"use_karras_sigmas": True}):
            for steps in (1, 2, 4, 7, 20, 25, 30, 50):
                if sigmas and name.startswith(("EulerA", "DDIM", "PNDM", "LCM", "Flow")):
                    continue
                yield name, config | sigmas, {"steps": steps}, None
    # Counts that do not divide 1000 decide how arange ends and where halves round to.
    for name, spacing in itertools.product(("EulerDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"),
                                           ("leading", "trailing", "linspace")):
        for steps in (3, 6, 9, 11, 13, 15, 16, 33, 49):
            yield name, SDXL | {"timestep_spacing": spacing}, {"steps": steps}, None
    for steps in (8, 12, 25, 30, 50):
        yield "EulerDiscreteScheduler", SDXL | {
            "timestep_spacing": "trailing", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, {"steps": steps}, None
    yield "EulerDiscreteScheduler", {"trained_betas": [0.001 * (i + 1) for i in range(40)], "num_train_timesteps": 40}, {"steps": 9}, None
    full = SDXL | {"timestep_spacing": "leading", "clip_sample": False, "sample_max_value": 1.0, "set_alpha_to_one": False,
                   "skip_prk_steps": True, "sigma_min": 0.05, "thresholding": True}
    for origin, name in itertools.permutations(("EulerDiscreteScheduler", "DDIMScheduler", "PNDMScheduler",
                                                "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"), 2):
        yield name, full | {"use_karras_sigmas": True}, {"steps": 6}, origin
    for variant in itertools.product(("dpmsolver++", "sde-dpmsolver++"), ("midpoint", "heun"), (2, 3), (10, 20)):
        algorithm, solver, order, steps = variant
        yield "DPMSolverMultistepScheduler", SDXL | {
            "algorithm_type": algorithm, "solver_type": solver, "solver_order": order, "use_karras_sigmas": True}, {"steps": steps}, None
    if HAS_TORCHSDE:
        for seed, steps, asked in ((0, 4, {}), (7, 10, {}), (2**40 + 11, 7, {"strength": 0.6})):
            yield "DPMSolverSDEScheduler", SDXL | {"use_karras_sigmas": True, "noise_sampler_seed": seed}, {"steps": steps} | asked, None
    for order, kind in itertools.product((2, 3), ("bh1", "bh2")):
        yield "UniPCMultistepScheduler", SDXL | {
            "solver_order": order, "solver_type": kind, "final_sigmas_type": "sigma_min"}, {"steps": 20}, None


def random_case(draw: random.Random) -> tuple[str, dict, dict, None]:
    name = draw.choice(sorted(CLASSES))
    config, asked = split([draw.choice(group) for group in CLASSES[name]])
    asked["steps"] = draw.choice((1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 17, 20, 25, 30, 37, 50))
    if "strength" in asked:
        asked["strength"] = round(draw.uniform(0.05, 1.0), 2)
    for key, low, high in (("beta_start", 0.0001, 0.001), ("beta_end", 0.01, 0.02), ("flow_shift", 1.0, 5.0), ("shift", 0.5, 5.0),
                           ("eta", 0.0, 1.0), ("clip_sample_range", 0.5, 3.0), ("shift_terminal", 0.01, 0.2)):
        if key in config:
            config[key] = round(draw.uniform(low, high), 5)
    if config.get("rescale_betas_zero_snr"):
        # The last entries are differences of almost equal square roots, and MKL's are not always the nearest number.
        config |= {key: value for key, value in ENDS[1].items() if key in config}
    if config.get("skip_prk_steps") is False:
        # In the middle of its warm-up diffusers goes on from the wrong timestep, to samples too large to be compared.
        asked.pop("strength", None)
    return name, config, asked, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--random", type=int, metavar="COUNT", help="record this many cases that nobody chose instead")
    parser.add_argument("--seed", type=int, default=0, help="of those (default: %(default)s)")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    diffusers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    if arguments.random is not None:
        # Each from its own seed, so that a failing one can be had alone.
        drawn = [random_case(random.Random(arguments.seed + i)) for i in range(arguments.random)]
    else:
        drawn = list(chosen_cases())
        for name, groups in CLASSES.items():
            drawn += [(name, *split(chosen), None) for chosen in pairwise(groups, random.Random(name))]
    cases = [record(*case) for case in drawn]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    text = f'{{"diffusers":"{diffusers.__version__}","torch":"{torch.__version__}","cases":[\n{lines}\n]}}\n'
    arguments.out.write_text(text)
    refused = sum("refused" in case for case in cases)
    print(f"{arguments.out}: {len(cases)} cases, {refused} of them refused, {len(text) / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
