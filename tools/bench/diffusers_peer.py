#!/usr/bin/env python3
"""The peer of crates/engine/benches/engine: diffusers on the same model, with the same number of threads.

Opens the model, prints {"ready": …, "open_ms": …}, and then makes one picture for each line it reads and prints
{"first_ms": …, "step_ms": […], "whole_ms": …, "peak_kib": …}: from the beginning of the picture to the end of its
first step, the time between the ends of one denoising step and the next, the whole picture, and the most memory the
process has held so far (VmHWM). It waits for lines so that the bench can measure in turns, a picture here and a picture
there. Ends with its input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from diffusers import DiffusionPipeline, FluxPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline  # noqa: E402

SINGLE_FILE = {"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline, "flux": FluxPipeline}


def peak_kib() -> int:
    """Not `getrusage`, whose maximum is inherited from the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder in diffusers layout, or a single file")
    parser.add_argument("--single-file", choices=sorted(SINGLE_FILE), help="the model is a file of this family")
    parser.add_argument("--config", help="with --single-file: the folder whose configs and tokenizers it is read with")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--guidance-scale", type=float, required=True)
    parser.add_argument("--size", type=int, required=True, help="width and height in pixels")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    began = time.perf_counter()
    if arguments.single_file:
        pipeline = SINGLE_FILE[arguments.single_file].from_single_file(
            arguments.model, config=arguments.config, torch_dtype=torch.float32)
    else:
        pipeline = DiffusionPipeline.from_pretrained(arguments.model, torch_dtype=torch.float32)
    open_ms = 1e3 * (time.perf_counter() - began)
    pipeline.set_progress_bar_config(disable=True)
    more = {"max_sequence_length": 256} if isinstance(pipeline, FluxPipeline) else {}
    ends: list[float] = []

    def end_of_step(_pipeline, _i, _t, tensors):
        ends.append(time.perf_counter())
        return tensors

    def say(message: dict) -> None:
        print(json.dumps(message), flush=True)

    say({"ready": f"diffusers {diffusers.__version__}, torch {torch.__version__}", "open_ms": open_ms})
    for _ in sys.stdin:
        ends.clear()
        began = time.perf_counter()
        pipeline(arguments.prompt, num_inference_steps=arguments.steps, guidance_scale=arguments.guidance_scale,
                 height=arguments.size, width=arguments.size, generator=torch.Generator("cpu").manual_seed(7),
                 output_type="pil", callback_on_step_end=end_of_step, **more)
        ended = time.perf_counter()
        say({"first_ms": 1e3 * (ends[0] - began), "whole_ms": 1e3 * (ended - began), "peak_kib": peak_kib(),
             "step_ms": [1e3 * (after - before) for before, after in zip(ends, ends[1:])]})


if __name__ == "__main__":
    main()
