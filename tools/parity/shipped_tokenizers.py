#!/usr/bin/env python3
"""Record what transformers makes of awkward prompts with the tokenizers of the published models, which those that ship with
the engine must equal. The tokenizers' own folders, as the models' repositories have them, lie in a package of PyPI (see
tools/make_tokenizer_assets.py); none of what ships is used here. Needs transformers 5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from transformers import CLIPTokenizer, T5TokenizerFast  # noqa: E402

from clip_tokenizers import PROMPTS  # noqa: E402
from t5_tokenizers import MORE  # noqa: E402

PACKAGE = "diffsynth==1.1.7"
FOLDERS = {
    "clip": (CLIPTokenizer, "flux/tokenizer_1", 77),
    "openclip": (CLIPTokenizer, "stable_diffusion_3/tokenizer_2", 77),
    "t5": (T5TokenizerFast, "flux/tokenizer_2", 512),
}
LONG = ["a photograph of an astronaut riding a horse on the moon, highly detailed, 8k, artstation, trending", "pneumonoultramicroscopicsilicovolcanoconiosis",
        "Ein Mädchen mit Perlenohrring, Öl auf Leinwand", "<extra_id_0> <extra_id_99> a", "masterpiece, best quality, 1girl, ((red hair)), [blurry:0.5]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="crates/engine/tests/fixtures/tokenizers-shipped.json")
    parser.add_argument("--wheels", type=Path, help="a folder with the package's wheel; downloaded when left out")
    arguments = parser.parse_args()
    prompts = PROMPTS + MORE + LONG
    expected = {"prompts": prompts}
    with tempfile.TemporaryDirectory() as work:
        wheels = arguments.wheels or Path(work)
        if arguments.wheels is None:
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", work, PACKAGE], check=True)
        with zipfile.ZipFile(next(wheels.glob(PACKAGE.replace("==", "-") + "-*.whl"))) as archive:
            archive.extractall(work, [name for name in archive.namelist() if "tokenizer_configs/" in name])
        for name, (cls, folder, length) in FOLDERS.items():
            tokenizer = cls.from_pretrained(Path(work) / "diffsynth/tokenizer_configs" / folder)
            expected[name] = {"pad": tokenizer.pad_token_id, "length": length,
                              "ids": [tokenizer(prompt, truncation=True, max_length=length).input_ids for prompt in prompts]}
    arguments.out.write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    print(f"{arguments.out}: {len(prompts)} prompts, {arguments.out.stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
