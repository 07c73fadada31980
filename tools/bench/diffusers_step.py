#!/usr/bin/env python3
"""The peer of crates/engine/benches/step.rs: diffusers on the same model folder, with the same number of threads.

Opens the model, prints {"ready": …}, and then makes one picture for each line it reads and prints
{"step_ms": […]}: the time between the ends of one denoising step and the next. It waits for lines so that the bench can
measure in turns, a picture here and a picture there. Ends with its input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from diffusers import StableDiffusionXLPipeline  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder in diffusers layout")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--negative-prompt")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--guidance-scale", type=float, required=True)
    parser.add_argument("--size", type=int, required=True, help="width and height in pixels")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    pipeline = StableDiffusionXLPipeline.from_pretrained(arguments.model, torch_dtype=torch.float32, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    ends: list[float] = []

    def end_of_step(_pipeline, _i, _t, tensors):
        ends.append(time.perf_counter())
        return tensors

    def say(message: dict) -> None:
        print(json.dumps(message), flush=True)

    say({"ready": f"diffusers {diffusers.__version__}, torch {torch.__version__}", "threads": torch.get_num_threads()})
    for _ in sys.stdin:
        ends.clear()
        pipeline(arguments.prompt, negative_prompt=arguments.negative_prompt, num_inference_steps=arguments.steps,
                 guidance_scale=arguments.guidance_scale, height=arguments.size, width=arguments.size,
                 generator=torch.Generator("cpu").manual_seed(7), output_type="pt", callback_on_step_end=end_of_step)
        say({"step_ms": [1e3 * (after - before) for before, after in zip(ends, ends[1:])]})


if __name__ == "__main__":
    main()
