"""libtorch from a Python that has torch: a folder of links to its libraries, so that one rpath finds them all."""

import fnmatch
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Callable, Optional

from . import folder as libtorch
from .folder import TORCH, Fail, say

# What torch's Python half needs and a libtorch program does not, and what a CPU program does not.
PYTHON_ONLY = ["libtorch_python.so", "libshm.so", "libtorch_global_deps.so"]
CUDA_ONLY = ["libtorch.so", "libtorch_cuda*", "libc10_cuda*", "libcaffe2_nvrtc*", "libtorch_nvshmem*"]
NVIDIA_FOR_CPU = ["libcudart.so*", "libcupti.so*"]
# Without importing torch: that takes seconds, and fails where CUDA's libraries are absent.
ASK = """
import importlib.metadata, importlib.util, json, os
found = importlib.util.find_spec("torch") or exit("No module named 'torch'")
print(json.dumps([importlib.metadata.version("torch"), os.path.dirname(found.origin)]))
"""


def matches(path: Path, patterns: list) -> bool:
    return any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)


def ask(python: str) -> tuple:
    """The version and the folder of a Python's torch."""
    try:
        said = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=True).stdout
        version, root = json.loads(said.splitlines()[-1])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        raise Fail(f"EASEL_TORCH_PYTHON={python} has no usable torch: {reason}",
                   f"name a Python that has torch {TORCH}, or unset EASEL_TORCH_PYTHON") from error
    if not libtorch.is_right_version(version):
        raise Fail(f"{python} has torch {version}, Easel needs {TORCH}",
                   f"install torch=={TORCH} there, or unset EASEL_TORCH_PYTHON to use the pinned wheels")
    return version, Path(root)


def prepare(cache: Path, python: str, wanted: Optional[str], default_variant: Callable[[], str]) -> Path:
    """The folder of links for this Python and variant, made first where it is missing."""
    version, torch = ask(python)
    has_cuda = (torch / "lib" / "libtorch_cuda.so").exists()
    if wanted == "cuda" and not has_cuda:
        raise Fail(f"the cuda variant was asked for, and {python} has a CPU build of torch",
                   "name a Python with a CUDA build, or ask for --variant cpu")
    variant = wanted or (default_variant() if has_cuda else "cpu")
    key = hashlib.sha256(f"{torch} {version}".encode()).hexdigest()[:8]
    target = cache / "libtorch" / f"{TORCH}-{variant}-python-{key}"
    if libtorch.is_ready(target):
        return target
    skip = PYTHON_ONLY + (CUDA_ONLY if variant == "cpu" and has_cuda else [])
    own = [path for path in sorted(torch.glob("lib/*.so*")) if not matches(path, skip)]
    nvidia = sorted((torch.parent / "nvidia").glob("*/lib/*.so*"))
    target.parent.mkdir(exist_ok=True)
    with libtorch.locked(cache), libtorch.fresh(target) as folder:
        (folder / "lib").mkdir()
        (folder / "include").symlink_to(torch / "include")
        for path in own + [path for path in nvidia if variant == "cuda" or matches(path, NVIDIA_FOR_CPU)]:
            (folder / "lib" / path.name).symlink_to(path)
        libtorch.finish(folder)
        libtorch.check(folder, variant, "EASEL_TORCH_PYTHON")
        libtorch.check_loads(folder)
    say(f"ready: {target}, links into {torch}")
    return target
