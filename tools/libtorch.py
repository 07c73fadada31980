#!/usr/bin/env python3
"""Prepare libtorch 2.11 for Easel's engine and print the folder to put in $LIBTORCH.

The folder goes to stdout and everything for people to stderr, so `LIBTORCH=$(python3 tools/libtorch.py)`
works while a download shows its progress. Run it at any time, also twice at once: a finished folder is
found again in a moment, an interrupted download goes on where it stopped, wheel by wheel.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Optional

from easel_libtorch import folder as libtorch
from easel_libtorch import python, wheels
from easel_libtorch.folder import Fail, say

DRIVER = 580  # the oldest NVIDIA driver for CUDA 13
DRIVER_FILE = Path("/proc/driver/nvidia/version")
HELP = """\
where it comes from, the first that applies:
  LIBTORCH=DIR             an existing libtorch 2.11: checked and used as it is
  EASEL_TORCH_PYTHON=PY    a Python that has torch 2.11: a folder of links to its libraries
  else                     pinned wheels from the Python package index, verified by sha256

variants:
  cpu    needs no GPU; {cpu}
  cuda   also for NVIDIA GPUs (driver 580 or later), with CUDA 13 and cuDNN; {cuda}
  auto   cuda where such a driver is installed, else cpu

examples:
  python3 tools/libtorch.py                       prepare it and print the folder
  export LIBTORCH=$(python3 tools/libtorch.py)    then plain `cargo build` works
  python3 tools/libtorch.py --variant cpu --verify
  LIBTORCH=/opt/libtorch make build
"""


def default_variant() -> str:
    """cuda where an NVIDIA driver is installed that CUDA 13 can use, else cpu."""
    if shutil.which("nvidia-smi") is None and not DRIVER_FILE.exists():
        return "cpu"
    with contextlib.suppress(OSError):
        found = re.search(r"\s(\d{3,})\.\d+", DRIVER_FILE.read_text())
        if found and int(found.group(1)) < DRIVER:
            say(f"the NVIDIA driver {found.group(1)} is older than {DRIVER}, which CUDA 13 needs: taking the cpu variant")
            return "cpu"
    return "cuda"


def arguments(argv: Optional[list]) -> argparse.Namespace:
    sizes = {name: f"{sum(wheel.size for wheel in variant.wheels) / 1e9:.1f} GB to fetch, "
                   f"{variant.unpacked / 1e9:.1f} GB on the disk" for name, variant in wheels.read_pins().items()}
    parser = argparse.ArgumentParser(
        prog="libtorch.py", description=__doc__, epilog=HELP.format(**sizes),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=("auto", "cpu", "cuda"),
                        default=os.environ.get("EASEL_LIBTORCH_VARIANT") or "auto",
                        help="which build (default: $EASEL_LIBTORCH_VARIANT, else auto)")
    parser.add_argument("--print", action="store_true", help="print nothing but the folder, also no progress")
    parser.add_argument("--verify", action="store_true", help="also read every library and load it")
    parser.add_argument("--json", action="store_true", help="print path, variant, version and source as JSON")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="default: $XDG_CACHE_HOME/easel or ~/.cache/easel")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="look for the wheels here before fetching them")
    parser.add_argument("--keep-wheels", action="store_true", help="do not delete the wheels once they are unpacked")
    args = parser.parse_args(argv)
    if args.variant not in ("auto", "cpu", "cuda"):  # argparse does not check a default
        parser.error(f"EASEL_LIBTORCH_VARIANT is {args.variant!r}: auto, cpu or cuda")
    return args


def cache_folder(asked: Optional[Path]) -> Path:
    cache = asked or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "easel"
    cache = cache.expanduser().resolve()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fail(f"the cache folder {cache} cannot be made: {error.strerror}",
                   "name a writable folder with --cache DIR or XDG_CACHE_HOME") from error
    return cache


def prepare(args: argparse.Namespace) -> dict:
    """Find or make the folder; what it is, for people and programs."""
    wanted = None if args.variant == "auto" else args.variant
    if own := os.environ.get("LIBTORCH"):
        folder, source = Path(own).expanduser().resolve(), "LIBTORCH"
    elif interpreter := os.environ.get("EASEL_TORCH_PYTHON"):
        folder = python.prepare(cache_folder(args.cache), interpreter, wanted, default_variant)
        source = "EASEL_TORCH_PYTHON"
    else:
        variant = wheels.read_pins()[wanted or default_variant()]
        folder = wheels.prepare(cache_folder(args.cache), variant, args.wheels, args.keep_wheels, args.verify)
        source = "the pinned wheels"
    libtorch.check(folder, wanted, source)
    if args.verify:
        libtorch.check_loads(folder)
        say(f"verified: {folder} is whole and loads")
    return {"path": str(folder), "variant": libtorch.variant_of(folder), "version": libtorch.version_of(folder),
            "source": source}


def main(argv: Optional[list] = None) -> int:
    args = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a polite kill cleans up as Ctrl-C does
    errors = sys.stderr
    try:
        with contextlib.redirect_stderr(open(os.devnull, "w")) if args.print else contextlib.nullcontext():
            result = prepare(args)
    except Fail as failure:
        print(f"libtorch: {failure}", file=errors)
        return 1
    except OSError as error:
        print(f"libtorch: {error}\n  what to do: check the disk and the folder's rights, then run again", file=errors)
        return 1
    except KeyboardInterrupt:
        print("libtorch: interrupted; run again to go on: finished wheels are kept", file=errors)
        return 130
    print(json.dumps(result, indent=1) if args.json else result["path"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
