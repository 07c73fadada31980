"""A sheet of captioned pictures for the documentation, as one PNG."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

import judge

CAPTIONS = [
    "a large red circle in the center on a blue background",
    "a small yellow star in the top right on a black background",
    "a medium green triangle in the bottom left on a white background",
    "a large white diamond in the left on a purple background",
    "a small black square in the bottom right on an orange background",
    "a medium pink cross in the top on a gray background",
    "huge orange star, upper left corner, green background",
    "a yellow background with a tiny blue dot on the right",
    "please draw a big purple box at the bottom on pink",
    "on a red background, a little white plus in the middle",
    "the rhombus that is blue and large at the upper right over yellow",
    "a photo of a medium-sized gray disc near the left edge on a white canvas",
]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, required=True, help="diffusers folder")
    p.add_argument("--out", type=Path, required=True, help="PNG file, such as docs/images/shapes.png")
    p.add_argument("--steps", type=int, default=20, help="default: %(default)s")
    p.add_argument("--guidance", type=float, default=3.0, help="default: %(default)s")
    p.add_argument("--seed", type=int, default=0, help="of the first picture (default: %(default)s)")
    p.add_argument("--columns", type=int, default=4, help="default: %(default)s")
    p.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    a = p.parse_args()

    pipe = judge.load(a.model, a.threads)
    pictures = judge.paint(pipe, CAPTIONS, [a.seed + i for i in range(len(CAPTIONS))], a.steps, a.guidance)
    side, gap, text = pictures.shape[1], 12, 44
    rows = -(-len(CAPTIONS) // a.columns)
    sheet = Image.new("RGB", (gap + a.columns * (side + gap), gap + rows * (side + text)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (caption, picture) in enumerate(zip(CAPTIONS, pictures)):
        x, y = gap + i % a.columns * (side + gap), gap + i // a.columns * (side + text)
        sheet.paste(Image.fromarray(picture), (x, y))
        pen.multiline_text((x, y + side + 3), "\n".join(textwrap.wrap(caption, 27)), fill="black", font_size=9, spacing=1)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(a.out, optimize=True)
    print(f"{a.out}: {a.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
