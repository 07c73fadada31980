"""libtorch from pinned wheels: fetched with pip, verified by sha256, unpacked into the cache."""

import contextlib
import fnmatch
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple, Optional

from . import folder as libtorch
from .folder import TORCH, Fail, digest, say

GLIBC = (2, 28)  # the oldest that torch's wheel runs on
# Not this system's own tags: everybody gets the same files.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC[1], 4, -1)] + ["manylinux2014_x86_64"]
MARGIN = 200_000_000  # bytes left free on the disk besides what is written
OWN = (f"install libtorch or a Python torch {TORCH} yourself and say where it is: "
       "LIBTORCH=/path/to/libtorch or EASEL_TORCH_PYTHON=/path/to/python")


class Wheel(NamedTuple):
    """One wheel, pinned to its bytes. The Python version in torch's name decides nothing: only its
    libraries and headers are used, and one fixed choice (cp311) keeps one hash for everybody."""

    name: str
    version: str
    size: int
    sha256: str


class Variant(NamedTuple):
    """What to fetch, which libraries of it to keep, and what that comes to on the disk in bytes."""

    name: str
    wheels: list
    libs: list
    unpacked: int


def read_pins(path: Path = Path(__file__).with_name("pins.json")) -> dict:
    """The variants by name; the cuda one is the cpu one and more."""
    pins = json.loads(path.read_text())["variants"]
    cpu, cuda = pins["cpu"], pins["cuda"]
    rows = {"cpu": (cpu["wheels"], cpu["libs"]),
            "cuda": (cpu["wheels"] + cuda["wheels"], cpu["libs"] + cuda["libs"])}
    return {name: Variant(name, [Wheel(**wheel) for wheel in wheels], libs, pins[name]["unpacked"])
            for name, (wheels, libs) in rows.items()}


def check_platform() -> None:
    """The pinned wheels are for Linux on x86-64 with a recent enough glibc."""
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in ("x86_64", "AMD64"):
        raise Fail(f"no pinned libtorch for {system} on {machine}: only Linux on x86_64 has one", OWN)
    libc, version = platform.libc_ver()
    if libc != "glibc":
        raise Fail("torch's wheels need glibc, and this Python does not run on it (musl?)", OWN)
    if tuple(map(int, version.split(".")[:2])) < GLIBC:
        raise Fail(f"torch {TORCH} needs glibc {GLIBC[0]}.{GLIBC[1]} or later, this system has {version}", OWN)


def check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need + MARGIN:
        raise Fail(f"{folder} has {mb(free)} free, libtorch needs {mb(need + MARGIN)} there while it is unpacked",
                   "free some space, or choose another disk with --cache DIR (or XDG_CACHE_HOME)")


def mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


class Progress:
    """One line that is overwritten on a terminal; in a log, one line for every tenth part."""

    def __init__(self, label: str, total: int):
        self.label, self.total, self.tenth = label, max(total, 1), -1

    def show(self, done: int) -> None:
        done = min(done, self.total)
        text = f"{self.label}: {mb(done)} of {mb(self.total)}"
        if sys.stderr.isatty():
            end = "\n" if done == self.total and self.tenth != 10 else ""
            self.tenth = 10 if done == self.total else self.tenth
            print(f"\r\033[Klibtorch: {text}", end=end, file=sys.stderr, flush=True)
        elif done * 10 // self.total > self.tenth:
            self.tenth = done * 10 // self.total
            say(text)


# ---- fetching ----------------------------------------------------------------------------------


def pip_command() -> list:
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        with contextlib.suppress(OSError):
            if subprocess.run(command + ["--version"], capture_output=True, check=False).returncode == 0:
                return command
    raise Fail("pip was not found, and libtorch comes as Python wheels",
               "install it (Debian and Ubuntu: apt-get install python3-pip; Fedora: dnf install python3-pip)")


def bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip renames while we look
            total += path.lstat().st_size
    return total


def waiting(process: subprocess.Popen) -> bool:
    """Whether it still runs, after a moment or at its end, whichever comes first."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
        return False
    return True


def run_pip(wheel: Wheel, partial: Path) -> str:
    """Let pip fetch one wheel into `partial`; the last line of what it said, when it failed."""
    command = pip_command() + [
        "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet",
        "--disable-pip-version-check", "--implementation", "cp", "--python-version", "3.11"]
    for tag in PLATFORMS:
        command += ["--platform", tag]
    command += ["--dest", str(partial), f"{wheel.name}=={wheel.version}"]
    temporary, progress = partial / "tmp", Progress(f"{wheel.name} {wheel.version}", wheel.size)
    temporary.mkdir()
    with (temporary / "pip.log").open("w+") as log:
        # pip's own progress cannot be read by a program; the size of its files can.
        pip = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(temporary)})
        try:
            while waiting(pip):
                progress.show(bytes_under(partial))
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
        if pip.returncode == 0:
            progress.show(wheel.size)
            return ""
        log.seek(0)
        return ([line for line in log.read().splitlines() if line.strip()] or ["no reason given"])[-1]


def download(wheel: Wheel, wheels: Path) -> Path:
    """Fetch one wheel into `wheels`; it appears there only when whole and verified."""
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=wheels))
    try:
        failure = run_pip(wheel, partial)
        files = list(partial.glob("*.whl"))
        if failure or len(files) != 1:
            raise Fail(f"pip could not fetch {wheel.name} {wheel.version}: {failure or 'it brought no wheel'}",
                       "check the network (and PIP_INDEX_URL, if you use a mirror) and run again: finished wheels are "
                       "kept. Without a network: copy the wheels from another machine and pass --wheels DIR")
        found = digest(files[0])
        if found != wheel.sha256:
            raise Fail(f"{files[0].name} has sha256 {found}, pinned is {wheel.sha256}",
                       "run again; if it stays so, the index you use serves another file: do not trust it")
        return files[0].rename(wheels / files[0].name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def salvage(wheels: Path) -> None:
    """Clear away what a killed run left. A wheel that pip had finished is moved up: its digest decides later."""
    for partial in wheels.glob(".partial-*"):
        for file in partial.glob("*.whl"):
            file.rename(wheels / file.name)
        shutil.rmtree(partial, ignore_errors=True)


def find_wheel(wheel: Wheel, folders: list) -> Optional[Path]:
    """An already present wheel with the right bytes."""
    for folder in folders:
        for path in sorted(folder.glob(f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl")):
            if path.stat().st_size == wheel.size and digest(path) == wheel.sha256:
                return path
    return None


# ---- unpacking ---------------------------------------------------------------------------------


def place(variant: Variant, member: str) -> Optional[str]:
    """Where a member of a wheel belongs in the libtorch folder; None where it is not needed.
    All libraries lie in one lib/: torch's own rpath holds $ORIGIN, so they find each other there."""
    parts = member.split("/")
    if member.endswith("/"):
        return None
    if parts[:2] == ["torch", "include"]:
        return "/".join(parts[1:])
    if (parts[:2] == ["torch", "lib"] and len(parts) == 3) or (
            parts[0] == "nvidia" and parts[2:3] == ["lib"] and len(parts) == 4):
        return f"lib/{parts[-1]}" if any(fnmatch.fnmatch(parts[-1], lib) for lib in variant.libs) else None
    if variant.name == "cuda" and parts[0] == "nvidia" and parts[2:3] == ["include"]:
        return "cuda/" + "/".join(parts[2:])
    return None


def unpack(variant: Variant, files: list, folder: Path) -> None:
    chosen = {}
    for file in files:
        with zipfile.ZipFile(file) as archive:
            chosen[file] = [(info, to) for info in archive.infolist() if (to := place(variant, info.filename))]
    total = sum(info.file_size for rows in chosen.values() for info, _ in rows)
    progress, done = Progress("unpacking", total), 0
    for file, rows in chosen.items():
        with zipfile.ZipFile(file) as archive:
            for info, to in rows:
                target = folder / to
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as out:
                    while block := source.read(1 << 22):
                        out.write(block)
                        done += len(block)
                        progress.show(done)


def prepare(cache: Path, variant: Variant, extra: Optional[Path], keep_wheels: bool, thorough: bool) -> Path:
    """The pinned libtorch in the cache, fetched and unpacked first where it is missing."""
    target = cache / "libtorch" / f"{TORCH}-{variant.name}"
    if libtorch.is_ready(target, thorough):
        return target
    check_platform()
    wheels = cache / "wheels"
    with libtorch.locked(cache):
        if libtorch.is_ready(target, thorough):  # the run that we waited for made it
            return target
        say(f"preparing {TORCH} ({variant.name}) in {target}")
        wheels.mkdir(exist_ok=True)
        target.parent.mkdir(exist_ok=True)
        salvage(wheels)
        files = {wheel: find_wheel(wheel, [wheels] + [extra] * bool(extra)) for wheel in variant.wheels}
        missing = [wheel for wheel, file in files.items() if file is None]
        check_space(cache, sum(wheel.size for wheel in missing) + variant.unpacked)
        for wheel in missing:
            files[wheel] = download(wheel, wheels)
        with libtorch.fresh(target) as folder:
            unpack(variant, list(files.values()), folder)
            libtorch.finish(folder)
            libtorch.check(folder, variant.name, "the unpacked wheels")
            libtorch.check_loads(folder)
        for file in files.values():
            if file.parent == wheels and not keep_wheels:
                file.unlink()
        with contextlib.suppress(OSError):  # it stays where other wheels lie in it
            wheels.rmdir()
        say(f"ready: {target} ({mb(bytes_under(target))})")
    return target
