#!/usr/bin/env python3
"""Long and weighted prompts, encoded as AUTOMATIC1111's web UI does, with transformers' CLIP.

What each prompt means is written down by hand beside it; what is recorded are the states of each encoder for its chunks of
75 words, multiplied by the weights, with the mean restored, laid one after the other. docs/PROMPTS.md has the rules.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer  # noqa: E402

BREAK = None
LONG = "the red squirrel, a cat & a dog, painting of the " * 6
# name, model, prompt and what it means, negative prompt and what it means, whether long, whether weighted, clip_skip
CASES = [
    ("weighted", "sdxl", "a (red:1.3) squirrel, ((cat)) [dog] \\(painting\\)",
     [("a ", 1), ("red", 1.3), (" squirrel, ", 1), ("cat", 1.1 * 1.1), (" ", 1), ("dog", 1 / 1.1), (" (painting)", 1)], "(blurry:0.5) dog",
     [("blurry", 0.5), (" dog", 1)], False, True, 0),
    ("long", "sdxl", f"{LONG}(a cat:1.2)", [(f"{LONG}(a cat:1.2)", 1)], "a dog", [("a dog", 1)], True, False, 0),
    ("broken", "sd", "(a painting BREAK of:1.2) a (red) cat", [("a painting", 1.2), BREAK, ("of", 1.2), (" a ", 1), ("red", 1.1), (" cat", 1)], f"[{LONG}",
     [(LONG, 1 / 1.1)], True, True, 0),
    ("cut", "sd", f"(a cat:1.4) BREAK {LONG}", [("a cat", 1.4), (f" {LONG}", 1)], "", [("", 1)], False, True, 1),
    ("fullstop", "sd", "cat " * 75, [("cat " * 75, 1)], "dog " * 76, [("dog " * 76, 1)], True, True, 0),
]
ENCODERS = {"sdxl": [("text_encoder", "tokenizer", CLIPTextModel), ("text_encoder_2", "tokenizer_2", CLIPTextModelWithProjection)],
            "sd": [("text_encoder", "tokenizer", CLIPTextModel)]}


def chunks(meant: list, tokenizer, words: int = 75, backtrack: int = 20) -> list[list[tuple[int, float]]]:
    """Tokens and weights, cut after a comma that is at most `backtrack` tokens before the end."""
    comma = tokenizer.get_vocab().get(",</w>")
    done, current, last = [], [], -1
    for piece in meant:
        if piece is BREAK:
            done.append(current)
            current, last = [], -1
            continue
        for token in tokenizer(piece[0], add_special_tokens=False, truncation=False).input_ids:
            if token == comma:
                last = len(current)
            elif backtrack and len(current) == words and last != -1 and len(current) - last <= backtrack:
                done.append(current[: last + 1])
                current, last = current[last + 1 :], -1
            if len(current) == words:
                done.append(current)
                current, last = [], -1
            current.append((token, piece[1]))
    return done + [current] if current or not done else done


@torch.no_grad()
def encode(encoder, tokenizer, rows: list, family: str, clip_skip: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    states, pooled = [], None
    for row in rows:
        ids = [tokenizer.bos_token_id, *(t for t, _ in row), tokenizer.eos_token_id]
        ids += [tokenizer.pad_token_id] * (77 - len(ids))
        weights = torch.tensor([1.0, *(w for _, w in row)] + [1.0] * (76 - len(row)))
        out = encoder(torch.tensor([ids]), output_hidden_states=True)
        if family == "sdxl":
            z = out.hidden_states[-(clip_skip + 2)]
        else:
            model = getattr(encoder, "text_model", encoder)
            z = model.final_layer_norm(out.hidden_states[-(clip_skip + 1)])
        mean = z.mean()
        z = z * weights[None, :, None]
        states.append(z * (mean / z.mean()))
        if pooled is None and hasattr(out, "text_embeds"):
            pooled = out.text_embeds
    return torch.cat(states, 1), pooled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, required=True, help="the fixtures folder, with pipelines/base and adapters/sd")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folders = {"sdxl": arguments.fixtures / "pipelines/base/model", "sd": arguments.fixtures / "adapters/sd/model"}
    arguments.out.mkdir(parents=True, exist_ok=True)
    tensors, cases = {}, []
    for name, family, prompt, meant, negative, negative_meant, long, weighted, clip_skip in CASES:
        cases.append({"name": name, "family": family, "prompt": prompt, "negative": negative, "long": long, "weights": weighted, "clip_skip": clip_skip})
        encoders = [(cls.from_pretrained(folders[family] / n, dtype=torch.float32).eval(), CLIPTokenizer.from_pretrained(folders[family] / t))
                    for n, t, cls in ENCODERS[family]]
        both = []
        for words in (meant, negative_meant):
            rows = [chunks([p for p in words if p is not BREAK or long], t, backtrack=20 if long else 0) for _, t in encoders]
            both.append(rows if long else [r[:1] for r in rows])
        most = max(len(rows) for side in both for rows in side)
        for which, side, skip in (("prompt", both[0], clip_skip), ("negative", both[1], 0)):
            made = [encode(e, t, rows + [[]] * (most - len(rows)), family, skip) for (e, t), rows in zip(encoders, side)]
            tensors[f"{name}.{which}"] = torch.cat([z for z, _ in made], -1)
            pooled = next((p for _, p in made if p is not None), None)
            if pooled is not None:
                tensors[f"{name}.{which}.pooled"] = pooled
    save_file({n: t.contiguous() for n, t in tensors.items()}, arguments.out / "expected.safetensors")
    (arguments.out / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    print({n: tuple(t.shape) for n, t in tensors.items()})


if __name__ == "__main__":
    main()
