#!/usr/bin/env python3
"""Write the vocabularies that ship with the engine, crates/engine/assets/tokenizers, from two packages of PyPI.

CLIP's merges are OpenAI's `bpe_simple_vocab_16e6.txt` (MIT), as clip-anytorch carries it: its first 48 894 merges are
CLIP's, and the vocabulary follows from them. T5's pieces are Google's `spiece.model` of T5 1.1 (Apache-2.0), as diffsynth
carries it for FLUX. Nothing of the packages is run. What was written is known by its digest, so a second run writes the
same or fails.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = ("clip-anytorch==2.6.0", "diffsynth==1.1.7")
MERGES = 49152 - 256 - 2
DIGESTS = {
    "clip/merges.txt": "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a",
    "clip/LICENSE": None,
    "t5/spiece.model": "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86",
    "t5/LICENSE": None,
}


def member(folder: Path, package: str, ending: str) -> bytes:
    """The one file of a package's wheel that ends so."""
    wheel = next(folder.glob(package.replace("-", "_").replace("==", "-") + "-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(ending)]
        if len(names) != 1:
            sys.exit(f"{wheel.name}: {len(names)} files end with {ending}")
        return archive.read(names[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "crates/engine/assets/tokenizers")
    parser.add_argument("--wheels", type=Path, help="a folder with both wheels; downloaded when left out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        wheels = arguments.wheels or Path(work)
        if arguments.wheels is None:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", work, *PACKAGES]
            subprocess.run(command, check=True)
        clip, t5 = PACKAGES
        lines = gzip.decompress(member(wheels, clip, "clip/bpe_simple_vocab_16e6.txt.gz")).decode().split("\n")
        files = {
            "clip/merges.txt": ("#version: 0.2\n" + "\n".join(lines[1:MERGES + 1]) + "\n").encode(),
            "clip/LICENSE": member(wheels, clip, "dist-info/LICENSE"),
            "t5/spiece.model": member(wheels, t5, "tokenizer_configs/flux/tokenizer_2/spiece.model"),
            "t5/LICENSE": member(wheels, t5, "dist-info/LICENSE"),
        }
    for name, content in files.items():
        found = hashlib.sha256(content).hexdigest()
        if DIGESTS[name] not in (None, found):
            sys.exit(f"{name} is another one: sha256 {found}")
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{name}: {len(content)} bytes, sha256 {found}")


if __name__ == "__main__":
    main()
