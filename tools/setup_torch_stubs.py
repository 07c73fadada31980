#!/usr/bin/env python3
"""Make a CUDA build of torch importable on a machine without CUDA's libraries.

The package index has only the CUDA build of torch for Linux on x86-64, and `import torch` loads 2 GB of
libraries that a CPU program never calls. This puts small stand-ins beside it: shared libraries of the same
names, whose functions all answer "failed". Only for reference runs on the CPU; the engine is built and runs
without them. Needs a C compiler and binutils.

usage: setup_torch_stubs.py SITE_PACKAGES
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

CUDA_LIBRARY = re.compile(r"lib(cu(?!da\.)|nccl|nv)\w*\.so\.\d+")
CUDA_SYMBOL = re.compile(r"(cu|nccl|nv)\w+")


def tool(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed(library: Path) -> set:
    """The libraries that the dynamic linker must find for this one."""
    return set(re.findall(r"NEEDED.*\[(.+)\]", tool("readelf", "--dynamic", "--wide", str(library))))


def versions(library: Path) -> dict:
    """Library name → the version names that its symbols must carry there."""
    found, current = {}, ""
    for kind, name in re.findall(r"\b(File|Name): (\S+)", tool("readelf", "--version-info", "--wide", str(library))):
        if kind == "File":
            current = name
        else:
            found.setdefault(current, set()).add(name)
    return found


def symbols(library: Path, which: str) -> set:
    lines = tool("nm", "--dynamic", which, str(library)).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.strip()}


def make(site: Path) -> list:
    """Write the stand-ins where torch's rpath looks; their names."""
    torch, nvidia = site / "torch" / "lib", site / "nvidia"
    own = sorted(torch.glob("*.so*"))
    present = {path.name for path in own} | {path.name for path in nvidia.glob("*/lib/*.so*")}
    missing = {name for path in own for name in needed(path) if CUDA_LIBRARY.fullmatch(name)} - present
    if not missing:
        return []
    defined = {name for path in own + sorted(nvidia.glob("*/lib/*.so*")) for name in symbols(path, "--defined-only")}
    wanted = {name for path in own for name in symbols(path, "--undefined-only")} - defined
    nodes = {}
    for path in own:
        for name, found in versions(path).items():
            nodes.setdefault(name, set()).update(found)
    target = nvidia / "cu13" / "lib"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch, "stubs.c"), Path(scratch, "versions")
        names = sorted(name for name in wanted if CUDA_SYMBOL.fullmatch(name))
        source.write_text("".join(f"int {name}(void) {{ return 1; }}\n" for name in names))
        tool("cc", "-O1", "-w", "-fno-builtin", "-fPIC", "-c", str(source), "-o", f"{scratch}/stubs.o")
        for name in sorted(missing):
            script.write_text("".join(f"{node} {{ global: *; }};\n" for node in sorted(nodes.get(name, set()))[:1]))
            versioned = [f"-Wl,--version-script={script}"] if nodes.get(name) else []
            tool("cc", "-shared", f"{scratch}/stubs.o", f"-Wl,-soname,{name}", *versioned, "-o", str(target / name))
    return sorted(missing)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    print("stand-ins:", " ".join(make(Path(sys.argv[1]))) or "none needed")
