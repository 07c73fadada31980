#!/usr/bin/env python3
"""Record what transformers' CLIPTokenizer makes of awkward prompts, for the tests of crates/engine.

Writes one folder for each way in which a tokenizer lies on the disk (the pair of files of 2023, the single file of
transformers 5, special tokens as text or as objects) and `expected.json` with the ids. Needs transformers 5.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

import vocabulary

PROMPTS = [
    "", " ", "a", "the red squirrel", "The RED  Squirrel", "a painting of a cat & dog", "it's the dog's, isn't it? they're we've I'm he'll she'd",
    "IT'S THE DOG'S", "naïve café façade", "cafe\u0301 vs café", "İstanbul ǅ ß ﬁ", "日本語の猫、한국어 고양이", "🐱‍👤🏳️‍🌈 emoji 👩🏽‍🚀!", "&amp; &lt;b&gt; &#39;quoted&#39;",
    "<|startoftext|> red <|endoftext|> dog", "<|STARTOFTEXT|> red", "<|endoftext|><|endoftext|>", "x<|endoftext|>y", "  leading and trailing  ",
    "tabs\tnew\nlines\r\nand\u00a0nbsp\u2003em\u200bzero", "dog!", "dog!!! cat!", "! dog", "wow!it's", "(red:1.2) [dog] {a|b} <lora:x:1>",
    "3.14159 12345 ½ ² Ⅷ ٣", "snake_case kebab-case C++ #1 @home 50% $5 ^_^", "a,b;c:d.e?f!g", "\x00\x01\x02 control \x7f", "\ufeffbom", "\U0010ffff astral",
    "thethethe paintingpainting", "Ａｆｕｌｌｗｉｄｔｈ", "\u0130\u0131\u017f\u212a", "'", "''", "'s", "''s's", "don''t", "…—–“”‘’", "e\u0301\u0301", "ก็กำ", "नमस्ते", "مرحبا",
    "\u2028line\u2029sep", "a" * 200, " ".join(["the red dog"] * 30), "the cat " * 37 + "squirrel", "日本" * 60, "dog " * 74 + "cat painting of the red", "dog " * 75, "dog " * 76, "!" * 100,
]

OBJECT = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def settings(pad: str) -> dict:
    return {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": vocabulary.BEGIN, "eos_token": vocabulary.END,
            "unk_token": vocabulary.END, "pad_token": pad}


def as_objects(config: dict, **more) -> dict:
    """Special tokens the way transformers 4 wrote them: objects, matched after lower-casing."""
    return config | {key: OBJECT | {"content": config[key]} | more for key in ("bos_token", "eos_token", "unk_token")}


def folders(root: Path) -> list[Path]:
    """Every form on the disk; `root` is left with one folder for each."""
    def pair(name: str, config: dict, special: dict | None = None) -> Path:
        folder = root / name
        vocabulary.write_pair(folder)
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
        if special is not None:
            (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n")
        return folder

    special = ("bos_token", "eos_token", "unk_token", "pad_token")
    first, second = settings(vocabulary.END), settings("!")
    bare = {key: value for key, value in second.items() if key not in special}
    made = [
        pair("pair", first),
        pair("pair-pads-with-bang", second),
        pair("pair-objects", as_objects(first, __type="AddedToken")),
        pair("pair-special-tokens-map", bare, {key: second[key] for key in special}),
        pair("pair-special-tokens-map-objects", bare, {key: as_objects(second)[key] for key in special}),
        pair("pair-added-tokens-decoder", second | {"added_tokens_decoder": {
            str(vocabulary.tokens()[word]): OBJECT | {"content": word, "normalized": normalized, "special": True}
            for word, normalized in (("!", False), (vocabulary.BEGIN, True), (vocabulary.END, False))}}),
        pair("pair-without-config", {}),
        pair("pair-short", first | {"model_max_length": 12}),
    ]
    for name, source in (("single", made[0]), ("single-pads-with-bang", made[1])):
        CLIPTokenizer.from_pretrained(source).save_pretrained(root / name)
        made.append(root / name)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced if it is there")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    expected = {"prompts": PROMPTS, "folders": {}}
    for folder in folders(arguments.out):
        # transformers leaves marks of its own in a folder it has read; it reads a copy.
        with tempfile.TemporaryDirectory() as copy:
            tokenizer = CLIPTokenizer.from_pretrained(shutil.copytree(folder, Path(copy) / folder.name))
        length = tokenizer.model_max_length if tokenizer.model_max_length < 1e6 else 77
        call = dict(padding="max_length", max_length=length, truncation=True)
        rows = []
        for prompt in PROMPTS:
            ids, whole = tokenizer(prompt, **call).input_ids, tokenizer(prompt).input_ids
            pad = tokenizer.pad_token_id
            # Stored without the padding at its end: the length says how much there was.
            cut = len(ids)
            while cut and ids[cut - 1] == pad:
                cut -= 1
            rows.append({"ids": ids[:cut], "truncated": len(whole) > length})
        expected["folders"][folder.name] = {"length": length, "pad": tokenizer.pad_token_id, "rows": rows}
    text = json.dumps(expected, ensure_ascii=True, separators=(",", ":"))
    (arguments.out / "expected.json").write_text(text + "\n")
    size = sum(f.stat().st_size for f in arguments.out.rglob("*") if f.is_file())
    print(f"{arguments.out}: {len(expected['folders'])} folders, {len(PROMPTS)} prompts, {size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
