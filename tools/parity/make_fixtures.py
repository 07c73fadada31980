#!/usr/bin/env python3
"""Write every fixture that the parity tests of crates/engine compare with: schedules, token ids, tiny pipelines of SDXL and FLUX.

Seeded, and the reference is diffusers 0.42 with transformers 5 in fp32 on the CPU. Run it again after a change and
commit what it writes; all of it together stays under the limit (--limit-mb), or it fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402

import flux  # noqa: E402
import flux_variations  # noqa: E402
import pipelines  # noqa: E402
import variations  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the fixtures folder, crates/engine/tests/fixtures")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="schedulers, tokenizers, tokenizers-t5, single, names of pipelines, flux- and the name of one, adapters, prompts")
    parser.add_argument("--threads", type=int, default=1, help="of torch; the numbers are those of one (default: %(default)s)")
    parser.add_argument("--limit-mb", type=float, default=19.0, help="default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    wanted = lambda name: not arguments.only or name in arguments.only  # noqa: E731
    here = Path(__file__).resolve().parent
    arguments.out.mkdir(parents=True, exist_ok=True)
    if wanted("schedulers"):
        subprocess.run([sys.executable, here / "schedulers.py", "--out", arguments.out / "schedulers.json"], check=True)
    if wanted("tokenizers"):
        subprocess.run([sys.executable, here / "clip_tokenizers.py", "--out", arguments.out / "tokenizers"], check=True)
    for variation in variations.ALL:
        if wanted(variation.name):
            shutil.rmtree(arguments.out / "pipelines" / variation.name, ignore_errors=True)
            size = pipelines.write(variation, arguments.out / "pipelines")
            print(f"{variation.name}: {size / 1e6:.2f} MB", flush=True)
    if wanted("tokenizers-t5"):
        subprocess.run([sys.executable, here / "t5_tokenizers.py", "--out", arguments.out / "tokenizers-t5"], check=True)
    for variation in flux_variations.ALL:
        if wanted(f"flux-{variation.name}"):
            shutil.rmtree(arguments.out / "flux" / variation.name, ignore_errors=True)
            size = flux.write(variation, arguments.out / "flux")
            print(f"flux-{variation.name}: {size / 1e6:.2f} MB", flush=True)
    if wanted("adapters"):
        base = arguments.out / "pipelines" / "base"
        subprocess.run([sys.executable, here / "loras.py", "--base", base, "--out", arguments.out / "adapters"], check=True)
    if wanted("prompts"):
        subprocess.run([sys.executable, here / "prompts.py", "--fixtures", arguments.out, "--out", arguments.out / "prompts"], check=True)
    if wanted("single"):
        for name in ("two-levels-zero-snr",):
            out = arguments.out / "single" / f"{name}.safetensors"
            model = arguments.out / "pipelines" / name / "model"
            subprocess.run([sys.executable, here / "single_files.py", "--model", model, "--out", out], check=True)
    total = sum(f.stat().st_size for f in arguments.out.rglob("*") if f.is_file()) / 1e6
    print(f"{total:.2f} MB in all")
    if total > arguments.limit_mb:
        sys.exit(f"more than {arguments.limit_mb} MB")


if __name__ == "__main__":
    main()
