"""A libtorch folder: what it must hold, how it is checked, and how one is made whole or not at all."""

import contextlib
import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Optional

TORCH = "2.11.0"  # what tch 0.24 is made for; torch-sys refuses any other
LAYOUT = 1  # raise when a folder's contents change: older folders are then made anew
MANIFEST = "easel-libtorch.json"
VERSION_HEADERS = ("torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h")


class Fail(Exception):
    """Something only the person at the keyboard can mend: what happened, and what to do."""

    def __init__(self, what: str, todo: str):
        super().__init__(f"{what}\n  what to do: {todo}")


def say(text: str) -> None:
    print(f"libtorch: {text}", file=sys.stderr, flush=True)


def digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def is_right_version(version: str) -> bool:
    """Any 2.11: a patch release keeps the interface that tch was generated from."""
    return version.split(".")[:2] == TORCH.split(".")[:2]


def version_of(folder: Path) -> Optional[str]:
    """The libtorch version of a folder, from its build-version file or its headers."""
    with contextlib.suppress(OSError):
        return (folder / "build-version").read_text().strip().split("+")[0]
    for header in VERSION_HEADERS:
        with contextlib.suppress(OSError):
            text = (folder / "include" / header).read_text()
            if found := re.search(r'TORCH_VERSION\s*\\?\s*"([^"]+)"', text):
                return found.group(1)
    return None


def variant_of(folder: Path) -> str:
    """torch-sys links CUDA exactly when this file is there."""
    return "cuda" if (folder / "lib" / "libtorch_cuda.so").exists() else "cpu"


def check(folder: Path, wanted: Optional[str], whose: str) -> None:
    """Refuse a folder that the engine could not be built with; `whose` names where it came from."""
    todo = f"point {whose} at a libtorch {TORCH}, or unset it to use the pinned wheels"
    if not folder.is_dir():
        raise Fail(f"{whose} names {folder}, which is not a folder", todo)
    version = version_of(folder)
    if version is None:
        raise Fail(f"{folder} has neither a build-version file nor torch's headers ({whose})", todo)
    if not is_right_version(version):
        raise Fail(f"{folder} is libtorch {version}, Easel needs {TORCH} ({whose})", todo)
    for name in ("libtorch.so", "libtorch_cpu.so", "libc10.so"):
        if not (folder / "lib" / name).exists():
            raise Fail(f"{folder}/lib has no {name} ({whose})", todo)
    if wanted == "cuda" and variant_of(folder) == "cpu":
        raise Fail(f"the cuda variant was asked for, and {folder} is a CPU build ({whose})", todo)


def check_loads(folder: Path) -> None:
    """Load the library in a process of its own: the dynamic linker's view of whether all is there."""
    library = folder / "lib" / ("libtorch_cuda.so" if variant_of(folder) == "cuda" else "libtorch_cpu.so")
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)"
    done = subprocess.run([sys.executable, "-c", code, str(library)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if "No module named" in reason:  # a Python built without ctypes: the first link will tell
        return
    raise Fail(f"{library} cannot be loaded: {reason}",
               "install what is named there; if it is a file of libtorch itself, delete the folder and run again")


def write_manifest(folder: Path) -> None:
    """Record every library's size and digest; the linker's own symbolic links inside lib/ are not files."""
    lib = (folder / "lib").resolve()
    files = [path for path in sorted(lib.iterdir()) if not (path.is_symlink() and path.resolve().parent == lib)]
    libs = {path.name: {"size": path.stat().st_size, "sha256": digest(path)} for path in files}
    (folder / MANIFEST).write_text(json.dumps({"layout": LAYOUT, "torch": TORCH, "libs": libs}, indent=1) + "\n")


def is_ready(folder: Path, thorough: bool = False) -> bool:
    """Whether a folder in the cache is whole: every library has its recorded size (thorough: and digest)."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["layout"] != LAYOUT or not (folder / "include" / VERSION_HEADERS[0]).exists():
            return False
        for name, want in manifest["libs"].items():
            path = folder / "lib" / name
            if path.stat().st_size != want["size"] or (thorough and digest(path) != want["sha256"]):
                say(f"{path} is not what was unpacked there: the folder will be made anew")
                return False
    except (OSError, ValueError, KeyError):
        return False
    return True


def finish(folder: Path) -> None:
    """Add what a linker and torch-sys look for besides the libraries and headers."""
    lib = folder / "lib"
    if variant_of(folder) == "cpu" and not (lib / "libtorch.so").exists():
        # The CUDA build's libtorch.so needs libtorch_cuda.so. It holds no code of its own, so on
        # the CPU a linker script stands for it: `-ltorch` becomes `-ltorch_cpu`.
        (lib / "libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
    for path in sorted(lib.glob("*.so.*")):
        # `-lgomp` and its like look for a name without a version (and without a wheel's hash).
        plain = lib / (re.sub(r"-[0-9a-f]{6,}$", "", path.name.split(".so.")[0]) + ".so")
        if not plain.exists():
            plain.symlink_to(path.name)
    (folder / "build-version").write_text(f"{TORCH}+{variant_of(folder)}\n")  # torch-sys reads it
    write_manifest(folder)


@contextlib.contextmanager
def locked(cache: Path):
    """One run at a time. The lock goes with the process, so a killed run leaves none behind."""
    with (cache / "libtorch.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is preparing it: waiting for that one")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def fresh(target: Path):
    """A temporary folder that becomes `target` when the block ends well, and goes away otherwise.
    To be used under the lock: what lies there from an earlier run belongs to nobody."""
    for stale in target.parent.glob(".unpack-*"):
        shutil.rmtree(stale, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's folders are for the owner alone
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
