"""Does the model draw what it is asked for? 200 captions, sampled with diffusers, read back from the pixels.

A picture is right only if colour, shape, place and ground are all right (size is reported beside them). The reader
(reader.py) is put to the proof first: it must read every one of a thousand plain drawings without a mistake, and it
must find fault with drawings of something else. Exit status 1 if fewer than `--need` are right.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

import captions
import reader
import scenes

MUST = ("colour", "shape", "place", "ground")
ALL = ("size", *MUST)


def questions(count: int, seed: int) -> list[tuple[str, dict[str, str]]]:
    """Captions and what they ask for: every other one in the main form, the rest in all the natural ways."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        scene = scenes.random_scene(rng)
        out.append((captions.main_caption(scene) if i % 2 == 0 else captions.variant(scene, rng)[0], scene.words()))
    return out


def prove_reader(count: int) -> None:
    """The reader is right on drawings, and a wrong drawing is seen as wrong."""
    rng = np.random.default_rng(99)
    for _ in range(count):
        scene = scenes.random_scene(rng)
        seen = reader.read(scenes.draw(scene, rng))
        wrong = [k for k in ALL if seen[k] != scene.words()[k]]
        if wrong:
            sys.exit(f"the reader misread {wrong} of {scene.words()}: {seen}")
    blank = reader.read(np.full((scenes.CANVAS, scenes.CANVAS, 3), 200, dtype=np.uint8))
    if blank["shape"] is not None:
        sys.exit(f"the reader saw an object on an empty picture: {blank}")
    noise = reader.read(rng.integers(0, 256, (scenes.CANVAS, scenes.CANVAS, 3), dtype=np.uint8))
    if noise["shape"] is not None:
        sys.exit(f"the reader saw a shape in noise: {noise}")
    print(f"reader: {count} drawings, all five attributes right; an empty picture and noise hold no shape")


def load(folder: Path, threads: int):
    """The pipeline as any diffusers user loads it, in fp32."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    torch.set_num_threads(threads)
    pipe = StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=torch.float32, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def paint(pipe, texts: list[str], seeds: list[int], steps: int, guidance: float, batch: int = 20) -> np.ndarray:
    """Pictures as uint8 (n, 128, 128, 3), each from its own generator."""
    import torch

    out = []
    for i in tqdm(range(0, len(texts), batch), desc="paint", disable=len(texts) <= batch):
        generators = [torch.Generator("cpu").manual_seed(s) for s in seeds[i : i + batch]]
        images = pipe(
            texts[i : i + batch], num_inference_steps=steps, guidance_scale=guidance, generator=generators,
            width=scenes.CANVAS, height=scenes.CANVAS,
        ).images  # fmt: skip
        out += [np.asarray(image) for image in images]
    return np.stack(out)


def write_words(file: Path, asked: list[tuple[str, dict[str, str]]], steps: int, guidance: float) -> None:
    """The model's words and the reader's constants, for people and for the engine's own test."""
    line = json.dumps
    tables = {
        "about": line("the small built-in model's words, and all that a reader of its pictures needs; written by tools/shapes/judge.py"),
        "canvas": line(scenes.CANVAS),
        "steps": line(steps),
        "guidance_scale": line(guidance),
        "reader": line({"frame": reader.FRAME, "far": reader.FAR, "few": reader.FEW, "alike": reader.ALIKE}),
    }
    for name, table in (("palette", scenes.PALETTE), ("places", scenes.PLACES), ("sizes", scenes.SIZES), ("shapes", scenes.SHAPES)):
        rows = ",\n".join(f"    {line(k)}: {line(v, separators=(',', ':'))}" for k, v in table.items())
        tables[name] = "{\n" + rows + "\n  }"
    tables["synonyms"] = line({k: v[1:] for k, v in captions.SYNONYMS.items() if len(v) > 1})
    rows = ",\n".join("    " + line([text, *(want[k] for k in ALL)]) for text, want in asked)
    tables["columns"] = line(["caption", *ALL])
    tables["captions"] = "[\n" + rows + "\n  ]"
    file.write_text("{\n" + ",\n".join(f"  {line(k)}: {v}" for k, v in tables.items()) + "\n}\n")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, help="diffusers folder; without it only the reader is proven")
    p.add_argument("--count", type=int, default=200, help="captions (default: %(default)s)")
    p.add_argument("--steps", type=int, default=20, help="default: %(default)s")
    p.add_argument("--guidance", type=float, default=3.0, help="default: %(default)s")
    p.add_argument("--seed", type=int, default=2026, help="of the captions; picture i starts from seed i (default: %(default)s)")
    p.add_argument("--first-seed", type=int, default=0, help="picture i starts from this plus i (default: %(default)s)")
    p.add_argument("--need", type=float, default=0.95, help="part that must be right (default: %(default)s)")
    p.add_argument("--words", type=Path, help="also write the words, the captions and the reader's constants here")
    p.add_argument("--wrong", type=Path, help="also save a sheet of the pictures that were wrong here")
    p.add_argument("--prove", type=int, default=1000, help="drawings to prove the reader on (default: %(default)s)")
    p.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    a = p.parse_args()

    if a.prove:
        prove_reader(a.prove)
    asked = questions(a.count, a.seed)
    if a.words:
        write_words(a.words, asked, a.steps, a.guidance)
    if not a.model:
        return
    start = time.time()
    pictures = paint(load(a.model, a.threads), [t for t, _ in asked], [a.first_seed + i for i in range(a.count)], a.steps, a.guidance)
    right: Counter[str] = Counter()
    whole, faults = {0: 0, 1: 0}, []
    for i, ((text, want), picture) in enumerate(zip(asked, pictures)):
        seen = reader.read(picture)
        right.update(k for k in ALL if seen[k] == want[k])
        if all(seen[k] == want[k] for k in MUST):
            whole[i % 2] += 1
        else:
            faults.append((text, picture))
            print(f"  {i}: {text!r}: " + ", ".join(f"{k} {seen[k]} for {want[k]}" for k in MUST if seen[k] != want[k]))
    total = sum(whole.values())
    print(f"{a.count} captions, {a.steps} steps, guidance {a.guidance}, {(time.time() - start) / a.count:.2f} s a picture")
    for k in ALL:
        print(f"  {k:7} {right[k]:4}  {right[k] / a.count:.1%}")
    print(f"  main form {whole[0]}/{(a.count + 1) // 2}, other forms {whole[1]}/{a.count // 2}")
    print(f"  right   {total:4}  {total / a.count:.1%}")
    if a.wrong and faults:
        side = scenes.CANVAS
        sheet = Image.new("RGB", (min(8, len(faults)) * side, -(-len(faults) // 8) * (side + 24)), "white")
        for n, (text, picture) in enumerate(faults):
            x, y = n % 8 * side, n // 8 * (side + 24)
            sheet.paste(Image.fromarray(picture), (x, y))
            ImageDraw.Draw(sheet).text((x + 2, y + side), text[:24] + "\n" + text[24:50], fill="black", font_size=9)
        sheet.save(a.wrong)
    sys.exit(0 if total >= a.need * a.count else 1)


if __name__ == "__main__":
    main()
