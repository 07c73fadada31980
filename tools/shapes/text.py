"""The text half of the model: two CLIP tokenizers over a small vocabulary, and the shapes of the two text encoders.

The vocabulary is a real CLIP byte-pair vocabulary: 256 bytes, the same at a word's end, the merges, two special
tokens. Merges are learned from `captions.WORDS` until each of those words is one token; everything else falls apart
into pieces, as in any CLIP. Both tokenizers share it; as in SDXL, the second pads with "!" (id 0).
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import captions

LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order of CLIP's vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]


def _learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, the most frequent pair first, until every word is one piece."""
    pieces = {w: [*w[:-1], w[-1] + "</w>"] for w in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for p in pieces.values() for pair in zip(p, p[1:]))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))  # ties by spelling: the same vocabulary every time
        merges.append(best)
        pieces = {w: _join(p, best) for w, p in pieces.items()}


def _join(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            out.append(pieces[i] + pieces[i + 1])
            i += 2
        else:
            out.append(pieces[i])
            i += 1
    return out


MERGES = _learn_merges([w for w in captions.WORDS if len(w) > 1])
_LETTERS = _byte_letters()
VOCAB: dict[str, int] = {
    token: i
    for i, token in enumerate(
        _LETTERS + [c + "</w>" for c in _LETTERS] + ["".join(m) for m in MERGES] + [START, END],
    )
}
_RANK = {pair: i for i, pair in enumerate(MERGES)}
START_ID, END_ID = VOCAB[START], VOCAB[END]
PADS = (END_ID, 0)  # of the first and of the second tokenizer


@functools.lru_cache(maxsize=100_000)
def _word_ids(word: str) -> tuple[int, ...]:
    pieces = [*word[:-1], word[-1] + "</w>"]
    while len(pieces) > 1:
        best = min(zip(pieces, pieces[1:]), key=lambda pair: _RANK.get(pair, 1 << 30))
        if best not in _RANK:
            break
        pieces = _join(pieces, best)
    return tuple(VOCAB[p] for p in pieces)


def ids(text: str, second: bool = False) -> list[int]:
    """Token ids of an ASCII text with start and end, at most `LENGTH`; the same as transformers' CLIPTokenizer, faster.

    The second tokenizer's pad, "!", is a special token: there it is cut out of any text first, as in SDXL.
    """
    words = re.findall(r"[a-z]+|[0-9]|!|[^\sa-z0-9!]+" if second else r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower())
    body = [i for w in words for i in ((0,) if second and w == "!" else _word_ids(w))]
    return [START_ID, *body[: LENGTH - 2], END_ID]


def batch(texts: list[str], length: int = LENGTH) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids for the first and for the second encoder, int64 (n, length)."""
    return tuple(
        torch.tensor([(row + [pad] * length)[:length] for row in (ids(t, second=i == 1) for t in texts)])
        for i, pad in enumerate(PADS)
    )


def write_tokenizer(folder: Path, pad: str) -> None:
    """One tokenizer folder as transformers reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(VOCAB, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(m) for m in MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "pad_token": pad, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_tokenizers(model: Path) -> None:
    write_tokenizer(model / "tokenizer", END)
    write_tokenizer(model / "tokenizer_2", "!")


def _config(width: int, activation: str, pad: int, **more: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(VOCAB),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=3,
        num_attention_heads=width // 16,
        max_position_embeddings=LENGTH,
        hidden_act=activation,
        bos_token_id=START_ID,
        eos_token_id=END_ID,  # not 2: with the true id, the pooled state is read at the first end token
        pad_token_id=pad,
        **more,
    )


def encoders() -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Fresh encoders: width 64 with quick_gelu, width 96 with gelu and a projection, as SDXL's two differ."""
    one = CLIPTextModel(_config(64, "quick_gelu", PADS[0], projection_dim=64))
    two = CLIPTextModelWithProjection(_config(96, "gelu", PADS[1], projection_dim=96))
    for encoder in (one, two):
        encoder.set_attn_implementation("eager")  # the fused kernel's backward is several times slower on CPUs
    return one, two


def embed(one, two, ids_one: torch.Tensor, ids_two: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What SDXL's pipeline hands to the UNet: both penultimate states side by side, and the second's pooled text."""
    a = one(ids_one, output_hidden_states=True).hidden_states[-2]
    b = two(ids_two, output_hidden_states=True)
    return torch.cat([a, b.hidden_states[-2]], dim=-1), b.text_embeds
