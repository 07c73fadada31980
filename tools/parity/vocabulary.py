"""A CLIP vocabulary small enough to commit: 256 bytes, 256 bytes that end a word, a few merges, two marks."""

from __future__ import annotations

import json
from pathlib import Path

MERGES = [("t", "h"), ("th", "e</w>"), ("i", "n"), ("in", "g</w>"), ("a", "n"), ("o", "f</w>"), ("c", "a"), ("ca", "t</w>"),
          ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>"), ("s", "q"), ("u", "i"), ("sq", "ui"), ("r", "r"),
          ("squi", "rr"), ("e", "l</w>"), ("squirr", "el</w>"), ("p", "a"), ("pa", "in"), ("pain", "t"), ("paint", "ing</w>")]
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols() -> list[str]:
    """One printable character for each byte, in CLIP's order: the printable bytes, then the others from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def tokens() -> dict[str, int]:
    symbols = byte_symbols()
    words = [*symbols, *(s + "</w>" for s in symbols), *("".join(pair) for pair in MERGES), BEGIN, END]
    return {word: i for i, word in enumerate(words)}


def write_pair(folder: Path) -> None:
    """vocab.json and merges.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(tokens(), ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
