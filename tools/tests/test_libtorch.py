"""tools/libtorch.py on small made-up wheels: no network, no real libtorch. Run: python3 -m unittest discover tools/tests"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

TOOLS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOOLS))

import libtorch  # noqa: E402
from easel_libtorch import folder as folders  # noqa: E402
from easel_libtorch import wheels  # noqa: E402

HEADER = "torch/include/torch/headeronly/version.h"
TORCH_FILES = {
    HEADER: '#define TORCH_VERSION \\\n  "2.11.0"\n', "torch/lib/libc10.so": "c10", "torch/lib/libtorch_cpu.so": "cpu",
    "torch/lib/libgomp.so.1": "gomp", "torch/lib/libtorch.so": "needs cuda", "torch/lib/libtorch_cuda.so": "cuda",
    "torch/lib/libtorch_python.so": "python", "torch/__init__.py": "", "torch/lib/sub/libc10.so": "not this one"}
RUNTIME_FILES = {"nvidia/cu13/lib/libcudart.so.13": "rt", "nvidia/cu13/lib/libother.so.13": "x",
                 "nvidia/cu13/include/cuda.h": "// cuda"}
# Stands in for pip: copies the wheel that is asked for out of $FAKE_INDEX.
FAKE_PIP = """
import os, shutil, sys, pathlib
if "--version" in sys.argv: sys.exit(0)
name, version = sys.argv[-1].split("==")
found = list(pathlib.Path(os.environ["FAKE_INDEX"]).glob(f"{name.replace('-', '_')}-{version}-*.whl"))
if not found: sys.exit("ERROR: no network")
shutil.copy(found[0], sys.argv[sys.argv.index("--dest") + 1])
"""


def make_wheel(index: Path, name: str, files: dict) -> wheels.Wheel:
    index.mkdir(exist_ok=True)
    path = index / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
    return wheels.Wheel(name, "1.0", path.stat().st_size, folders.digest(path))


class Bench(unittest.TestCase):
    """A temporary home with a made-up index, and `run` to call the command in it."""

    def setUp(self):
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home)
        self.cache, self.index = self.home / "cache", self.home / "index"
        self.torch = make_wheel(self.index, "torch", TORCH_FILES)
        self.runtime = make_wheel(self.index, "nvidia-cuda-runtime", RUNTIME_FILES)
        cpu = ["libc10.so", "libtorch_cpu.so", "libgomp*.so.1", "libcudart.so.13"]
        both = [self.torch, self.runtime]
        self.pins = {"cpu": wheels.Variant("cpu", both, cpu, 1000),
                     "cuda": wheels.Variant("cuda", both, cpu + ["libtorch.so", "libtorch_cuda.so"], 1000)}
        fake_pip = self.home / "pip.py"
        fake_pip.write_text(FAKE_PIP)
        self.patch(wheels, "pip_command", lambda: [sys.executable, str(fake_pip)])
        self.patch(wheels, "read_pins", lambda: self.pins)
        self.patch(wheels, "check_platform", lambda: None)
        self.patch(folders, "check_loads", lambda folder: None)
        self.patch(libtorch, "default_variant", lambda: "cpu")
        self.environment = {"FAKE_INDEX": str(self.index), "PATH": os.environ["PATH"], "HOME": str(self.home)}

    def patch(self, where, name, value):
        patcher = mock.patch.object(where, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def run_it(self, *argv: str) -> tuple:
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, self.environment, clear=True), \
                contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = libtorch.main([*argv, "--cache", str(self.cache)])
        return code, out.getvalue().strip(), err.getvalue()

    def ready(self, *argv: str) -> Path:
        code, out, err = self.run_it(*argv)
        self.assertEqual(code, 0, err)
        return Path(out)

    def refused(self, *argv: str) -> str:
        code, out, err = self.run_it(*argv)
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("what to do: ", err)
        return err

    def left_over(self) -> list:
        return [path.name for path in self.cache.rglob(".*")]


class Wheels(Bench):
    def test_cpu_keeps_what_a_cpu_program_needs(self):
        folder = self.ready()
        names = sorted(path.name for path in (folder / "lib").iterdir())
        self.assertEqual(names, ["libc10.so", "libcudart.so", "libcudart.so.13", "libgomp.so", "libgomp.so.1",
                                 "libtorch.so", "libtorch_cpu.so"])
        self.assertEqual((folder / "lib/libtorch.so").read_text(), "INPUT(-ltorch_cpu)\n")
        self.assertEqual((folder / "lib/libc10.so").read_text(), "c10")
        self.assertEqual(os.readlink(folder / "lib/libgomp.so"), "libgomp.so.1")
        self.assertEqual((folder / "build-version").read_text(), "2.11.0+cpu\n")
        self.assertFalse((folder / "cuda").exists())
        self.assertFalse((self.cache / "wheels").exists(), "wheels are deleted once unpacked")

    def test_cuda_keeps_torch_cuda_and_its_headers(self):
        folder = self.ready("--variant", "cuda")
        self.assertEqual((folder / "lib/libtorch.so").read_text(), "needs cuda")
        self.assertTrue((folder / "lib/libtorch_cuda.so").exists())
        self.assertTrue((folder / "cuda/include/cuda.h").exists())
        self.assertFalse((folder / "lib/libtorch_python.so").exists())

    def test_a_ready_folder_is_found_without_any_wheel(self):
        first = self.ready()
        shutil.rmtree(self.index)
        self.assertEqual(self.ready("--verify"), first)
        code, out, _ = self.run_it("--json")
        self.assertEqual((code, json.loads(out)["variant"], json.loads(out)["version"]), (0, "cpu", "2.11.0"))

    def test_a_damaged_folder_is_made_anew(self):
        library = self.ready() / "lib/libtorch_cpu.so"
        library.write_text("c")
        self.ready()
        self.assertEqual(library.read_text(), "cpu")
        library.write_text("CPU")  # the same size: only --verify reads it
        self.ready("--verify")
        self.assertEqual(library.read_text(), "cpu")

    def test_an_interrupted_fetch_goes_on_where_it_stopped(self):
        absent = self.index / "nvidia_cuda_runtime-1.0-py3-none-any.whl"
        kept = absent.rename(self.home / absent.name)
        self.assertIn("no network", self.refused())
        self.assertEqual(self.left_over(), [])
        (self.index / "torch-1.0-py3-none-any.whl").unlink()  # cannot be fetched again, and need not be
        kept.rename(absent)
        self.ready()

    def test_what_a_killed_run_left_is_cleared_or_used(self):
        (self.cache / "wheels/.partial-x").mkdir(parents=True)
        (self.cache / "libtorch/.unpack-x").mkdir(parents=True)
        (self.index / "torch-1.0-py3-none-any.whl").rename(self.cache / "wheels/.partial-x/torch-1.0-py3-none-any.whl")
        self.ready()
        self.assertEqual(self.left_over(), [])

    def test_a_wheel_with_other_bytes_is_refused(self):
        self.pins["cpu"].wheels[0] = self.torch._replace(sha256="0" * 64)
        self.assertIn("pinned is 0000", self.refused())
        self.assertEqual(self.left_over(), [])

    def test_wheels_from_a_folder_are_used_and_stay(self):
        self.environment["FAKE_INDEX"] = str(self.home / "nothing")
        self.ready("--wheels", str(self.index))
        self.assertEqual(len(list(self.index.iterdir())), 2)

    def test_wheels_are_kept_when_asked(self):
        self.ready("--keep-wheels")
        self.assertEqual(len(list((self.cache / "wheels").iterdir())), 2)

    def test_a_failed_unpack_leaves_nothing(self):
        self.patch(wheels, "unpack", mock.Mock(side_effect=OSError("disk broke")))
        self.assertIn("disk broke", self.refused())
        self.assertEqual(self.left_over(), [])
        self.assertFalse((self.cache / "libtorch/2.11.0-cpu").exists())

    def test_a_full_disk_is_told_before_anything_is_fetched(self):
        self.patch(shutil, "disk_usage", lambda folder: mock.Mock(free=10))
        self.assertIn("free some space", self.refused())

    def test_a_second_run_waits_for_the_first(self):
        self.cache.mkdir()
        held = (self.cache / "libtorch.lock").open("w")
        fcntl.flock(held, fcntl.LOCK_EX)
        script = (f"import sys, fcntl; sys.path.insert(0, {str(TOOLS)!r})\n"
                  "from pathlib import Path\nfrom easel_libtorch import folder\n"
                  f"with folder.locked(Path({str(self.cache)!r})): print('mine')")
        waiting = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertIn(b"waiting for that one", waiting.stderr.readline())
        self.assertIsNone(waiting.poll())
        held.close()
        self.assertEqual(waiting.communicate(timeout=20)[0], b"mine\n")


class Others(Bench):
    def own(self, version: str = "2.11.0", files: tuple = ("libtorch.so", "libtorch_cpu.so", "libc10.so")) -> Path:
        folder = self.home / "own"
        (folder / "lib").mkdir(parents=True)
        (folder / "build-version").write_text(f"{version}+cpu\n")
        for name in files:
            (folder / "lib" / name).write_text("")
        self.environment["LIBTORCH"] = str(folder)
        return folder

    def test_an_existing_libtorch_is_used_as_it_is(self):
        own = self.own()
        self.assertEqual(self.ready(), own)
        self.assertFalse(self.cache.exists())

    def test_another_version_is_refused(self):
        self.own(version="2.9.1")
        self.assertIn("is libtorch 2.9.1, Easel needs 2.11.0 (LIBTORCH)", self.refused())

    def test_a_missing_library_is_named(self):
        self.own(files=("libtorch.so", "libc10.so"))
        self.assertIn("has no libtorch_cpu.so", self.refused())

    def test_a_cpu_build_is_no_cuda_build(self):
        self.own()
        self.assertIn("is a CPU build", self.refused("--variant", "cuda"))

    def test_a_folder_that_is_not_there(self):
        self.environment["LIBTORCH"] = str(self.home / "nowhere")
        self.assertIn("which is not a folder", self.refused())

    def python_with_torch(self, version: str) -> None:
        """A stand-in for an interpreter: it answers what `import torch` would have told."""
        site = self.home / "site"
        with zipfile.ZipFile(self.index / "torch-1.0-py3-none-any.whl") as archive:
            archive.extractall(site)
        with zipfile.ZipFile(self.index / "nvidia_cuda_runtime-1.0-py3-none-any.whl") as archive:
            archive.extractall(site)
        python = self.home / "python"
        python.write_text(f"#!/bin/sh\necho '{json.dumps([version, str(site / 'torch')])}'\n")
        python.chmod(0o755)
        self.environment["EASEL_TORCH_PYTHON"] = str(python)

    def test_a_python_torch_is_linked(self):
        self.python_with_torch("2.11.0+cu130")
        folder = self.ready()
        names = sorted(path.name for path in (folder / "lib").iterdir())
        self.assertEqual(names, ["libc10.so", "libcudart.so", "libcudart.so.13", "libgomp.so", "libgomp.so.1",
                                 "libtorch.so", "libtorch_cpu.so"])
        self.assertEqual((folder / "lib/libtorch.so").read_text(), "INPUT(-ltorch_cpu)\n")
        self.assertTrue((folder / "include/torch").is_dir())
        self.assertEqual(self.ready(), folder)
        self.assertTrue((self.ready("--variant", "cuda") / "lib/libother.so.13").exists())

    def test_a_python_with_another_torch_is_refused(self):
        self.python_with_torch("2.10.0")
        self.assertIn("has torch 2.10.0, Easel needs 2.11.0", self.refused())

    def test_a_python_without_torch_is_refused(self):
        self.environment["EASEL_TORCH_PYTHON"] = str(self.home / "no-python")
        self.assertIn("has no usable torch", self.refused())

    def test_an_unknown_variant_in_the_environment(self):
        self.environment["EASEL_LIBTORCH_VARIANT"] = "rocm"
        with self.assertRaises(SystemExit) as stopped:
            self.run_it()
        self.assertEqual(stopped.exception.code, 2)


class Machine(unittest.TestCase):
    def driver(self, text: str) -> str:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            with mock.patch.object(libtorch, "DRIVER_FILE", Path(file.name)), \
                    contextlib.redirect_stderr(io.StringIO()):
                return libtorch.default_variant()

    def test_the_driver_decides_the_default(self):
        line = "NVRM version: NVIDIA UNIX {} Kernel Module  {}  Release Build"
        self.assertEqual(self.driver(line.format("x86_64", "580.159.03")), "cuda")
        self.assertEqual(self.driver(line.format("Open", "for x86_64  580.65.06")), "cuda")
        self.assertEqual(self.driver(line.format("x86_64", "535.104.05")), "cpu")
        with mock.patch.object(libtorch, "DRIVER_FILE", Path("/nowhere")), \
                mock.patch.object(shutil, "which", lambda name: None):
            self.assertEqual(libtorch.default_variant(), "cpu")

    def test_other_platforms_are_told_what_to_do(self):
        for system, machine, libc, word in (
                ("Darwin", "arm64", ("", ""), "only Linux on x86_64"),
                ("Linux", "aarch64", ("glibc", "2.36"), "only Linux on x86_64"),
                ("Linux", "x86_64", ("", ""), "musl"),
                ("Linux", "x86_64", ("glibc", "2.17"), "glibc 2.28 or later")):
            with mock.patch("platform.system", lambda: system), mock.patch("platform.machine", lambda: machine), \
                    mock.patch("platform.libc_ver", lambda: libc), self.assertRaises(folders.Fail) as failed:
                wheels.check_platform()
            self.assertIn(word, str(failed.exception))
            self.assertIn("LIBTORCH=/path", str(failed.exception))

    def test_the_pins_are_whole(self):
        for variant in wheels.read_pins().values():
            self.assertEqual(len({wheel.name for wheel in variant.wheels}), len(variant.wheels))
            for wheel in variant.wheels:
                self.assertRegex(wheel.sha256, "^[0-9a-f]{64}$")


if __name__ == "__main__":
    unittest.main()
