"""Plant bugs in a copy of the engine and tell which tests catch each.

Each bug is one replacement of text in the sources; the copy lies in a temporary folder, the working tree is not
touched. Prints a Markdown table. Exit status 1 if a bug is caught by no test, or if its text is not found (then the
source has changed and the bug must be written anew). Needs LIBTORCH, as every build of the engine does.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = Path("crates/engine")


@dataclass(frozen=True)
class Bug:
    name: str
    file: str
    old: str
    new: str


FAILED = re.compile(r"^test (\S+) \.\.\. FAILED", re.MULTILINE)
TOO_FAR = re.compile(r"^ *(\S.*?) +([\d.]+e-?\d+)( relative)? of ([\d.]+e-?\d+)$", re.MULTILINE)


def copy_sources(to: Path) -> None:
    """Without their times, so that cargo takes nothing in a kept build folder for up to date."""
    ignore = shutil.ignore_patterns("target", "__pycache__")
    for entry in ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "src", "config", "crates", "tests", "benches", "web"):
        source = ROOT / entry
        if source.is_dir():
            shutil.copytree(source, to / entry, ignore=ignore, copy_function=shutil.copyfile)
        elif source.exists():
            shutil.copyfile(source, to / entry)


def test(work: Path, target: Path, tests: list[str]) -> str:
    """`lib` are the unit tests; all others are files."""
    wanted = ["--lib" if name == "lib" else f"--test={name}" for name in tests]
    command = ["cargo", "test", "--package", "easel-engine", "--no-fail-fast", *wanted]
    done = subprocess.run(command, cwd=work, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if "test result:" not in done.stdout:
        sys.exit(f"the tests did not run:\n{done.stdout[-3000:]}")
    return done.stdout


def caught(output: str) -> tuple[list[str], str]:
    """The tests that failed, and the number that lies furthest beyond its limit."""
    failed = sorted(set(FAILED.findall(output)))
    excess = [(float(difference) / float(limit), f"{name} {difference}{sort}") for name, difference, sort, limit in
              TOO_FAR.findall(output) if float(limit) > 0 and float(difference) > float(limit)]
    return failed, max(excess)[1] if excess else ""


def in_words(failed: list[str]) -> str:
    """`base::unet` and its siblings as one entry."""
    kinds: dict[str, list[str]] = {}
    for name in failed:
        fixture, _, kind = name.rpartition("::")
        kinds.setdefault(kind if fixture else name, []).append(fixture)
    words = [f"`{kind}`" + (f" of {', '.join(fixtures)}" if fixtures[0] else "") for kind, fixtures in sorted(kinds.items())]
    return "; ".join(words) or "**nothing**"


def main(description: str, tests: list[str], bugs: list[Bug]) -> None:
    """The command of a script: `bugs`, and the tests that are to catch them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, help="build folder, to be kept for another time (default: a temporary one)")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of bugs, from 0")
    arguments = parser.parse_args()
    lost = False
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "easel"
        work.mkdir()
        copy_sources(work)
        target = arguments.target or Path(temporary) / "target"
        failed, _ = caught(test(work, target, tests))
        if failed:
            sys.exit(f"without any bug, these fail already: {', '.join(failed)}")
        print("| bug | caught by | furthest off |\n|---|---|---|", flush=True)
        for i, bug in enumerate(bugs):
            if arguments.only is not None and i not in arguments.only:
                continue
            path = work / ENGINE / bug.file
            source = path.read_text()
            if source.count(bug.old) != 1:
                print(f"| {bug.name} | **its text is not once in {bug.file}** | |", flush=True)
                lost = True
                continue
            path.write_text(source.replace(bug.old, bug.new))
            failed, furthest = caught(test(work, target, tests))
            path.write_text(source)
            os.utime(path)
            lost |= not failed
            print(f"| {bug.name} | {in_words(failed)} | {furthest} |", flush=True)
    sys.exit(1 if lost else 0)
