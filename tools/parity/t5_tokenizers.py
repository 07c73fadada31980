#!/usr/bin/env python3
"""Record what transformers' T5Tokenizer makes of awkward prompts, for the tests of crates/engine.

Writes one folder for each way in which a tokenizer lies on the disk (`tokenizer.json`, or `spiece.model` alone) and
`expected.json` with the ids. Needs transformers 5.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from transformers import T5Tokenizer

import t5_vocabulary
from clip_tokenizers import PROMPTS

MORE = ["a <extra_id_0> dog", "</s> red </s>", "<pad><pad>", "<unk>", "▁the▁red", "the<extra_id_3>cat", "ﬁﬁ ｆＡ", "painting… of ½ a cat"]
LENGTHS = [16, 64, 256]


def tokenizer(length: int = 512) -> T5Tokenizer:
    vocabulary = t5_vocabulary.pieces() + t5_vocabulary.gaps()
    return T5Tokenizer(vocab=vocabulary, _spm_precompiled_charsmap=t5_vocabulary.charsmap(), extra_ids=t5_vocabulary.EXTRA_IDS, model_max_length=length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced if it is there")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    made = tokenizer()
    made.save_pretrained(arguments.out / "whole")
    for name, model_type in (("pieces", 1), ("pairs", 2)):
        (arguments.out / name).mkdir()
        (arguments.out / name / "spiece.model").write_bytes(t5_vocabulary.spiece_model(model_type))
        (arguments.out / name / "tokenizer_config.json").write_text(json.dumps({"extra_ids": t5_vocabulary.EXTRA_IDS, "tokenizer_class": "T5Tokenizer"}) + "\n")
    prompts, rows = PROMPTS + MORE, []
    for prompt in prompts:
        whole = made(prompt).input_ids
        for length in LENGTHS:
            cut = made(prompt, padding="max_length", max_length=length, truncation=True).input_ids
            if cut != ([*whole[: length - 1], whole[-1]] if len(whole) > length else whole + [made.pad_token_id] * (length - len(whole))):
                raise ValueError(f"{prompt!r} is cut otherwise than expected.json can say")
        rows.append(whole)
    text = json.dumps({"lengths": LENGTHS, "pad": made.pad_token_id, "prompts": prompts, "ids": rows}, separators=(",", ":"))
    (arguments.out / "expected.json").write_text(text + "\n")
    size = sum(f.stat().st_size for f in arguments.out.rglob("*") if f.is_file())
    print(f"{arguments.out}: {len(prompts)} prompts, {size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
