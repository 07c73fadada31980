"""Teach the text encoders to read, before the UNet learns to paint.

Learning what words mean through a diffusion loss is slow: place, above all, comes last. Here both encoders first
learn to name a caption's size, colour, shape, place and ground from what they give at the end token, with linear
heads that are thrown away afterwards. Minutes instead of an hour. Attributes that the caption leaves out count nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import tqdm

import captions
import scenes
import text

TABLES = {
    "size": scenes.SIZE_NAMES,
    "colour": scenes.COLOUR_NAMES,
    "shape": scenes.SHAPE_NAMES,
    "place": scenes.PLACE_NAMES,
    "ground": scenes.COLOUR_NAMES,
}
UNSAID = -100


def examples(count: int, rng: np.random.Generator) -> tuple[list[str], torch.Tensor]:
    """Captions and their attributes as indices (count, 5), `UNSAID` where the caption is silent."""
    texts, labels = [], []
    for _ in range(count):
        sentence, said = captions.caption(scenes.random_scene(rng), rng)
        texts.append(sentence)
        labels.append([names.index(said[k]) if k in said else UNSAID for k, names in TABLES.items()])
    return texts, torch.tensor(labels)


class Heads(nn.Module):
    """Linear readers on the three states that matter: what SDXL takes from each encoder, and the pooled text."""

    def __init__(self) -> None:
        super().__init__()
        out = sum(map(len, TABLES.values()))
        self.first, self.second, self.pooled = nn.Linear(64, out), nn.Linear(96, out), nn.Linear(96, out)

    def forward(self, one, two, texts: list[str]) -> list[torch.Tensor]:
        # The mask is causal: what follows the end token cannot change what stands there, so short rows are exact.
        length = max(len(text.ids(t)) for t in texts)
        ids_one, ids_two = text.batch(texts, length)
        end = torch.arange(len(texts)), (ids_one == text.END_ID).int().argmax(1)
        a = one(ids_one, output_hidden_states=True).hidden_states[-2]
        b = two(ids_two, output_hidden_states=True)
        return [self.first(a[end]), self.second(b.hidden_states[-2][end]), self.pooled(b.text_embeds)]


def split(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return logits.split([len(v) for v in TABLES.values()], dim=1)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, help="file for the two encoders' weights")
    p.add_argument("--steps", type=int, default=450, help="default: %(default)s")
    p.add_argument("--batch", type=int, default=96, help="captions a step (default: %(default)s)")
    p.add_argument("--lr", type=float, default=2e-3, help="peak learning rate (default: %(default)s)")
    p.add_argument("--seed", type=int, default=2, help="default: %(default)s")
    p.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    a = p.parse_args()

    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    one, two = text.encoders()
    heads = Heads()
    params = [*one.parameters(), *two.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(params, lr=a.lr, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / 100, max(0.02, (a.steps - s) / (0.5 * a.steps)), 1.0)
    )
    bar = tqdm(range(a.steps), mininterval=5, desc="text")
    for step in bar:
        texts, labels = examples(a.batch, rng)
        loss = 0.0
        for logits in heads(one, two, texts):
            for part, label in zip(split(logits.float()), labels.T):
                loss = loss + F.cross_entropy(part, label, ignore_index=UNSAID) / 5
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")

    with torch.no_grad():
        texts, labels = examples(2000, np.random.default_rng(a.seed + 1))
        for name, logits in zip(("first", "second", "pooled"), heads(one, two, texts)):
            right = {
                k: ((part.argmax(1) == label) | (label == UNSAID)).float().mean().item()
                for (k, part, label) in zip(TABLES, split(logits), labels.T)
            }
            print(name, {k: round(v, 4) for k, v in right.items()})
    a.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"one": one.state_dict(), "two": two.state_dict()}, a.out)


if __name__ == "__main__":
    main()
