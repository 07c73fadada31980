"""Words for scenes: the many ways in which a scene can be asked for.

`caption` writes one sentence for a scene; attributes that it leaves out are free. Training sees all of it, with
fillers and junk in between, so that a word it has never seen does not spoil a picture. `WORDS` is everything that
becomes a single token.
"""

from __future__ import annotations

import re
import string

import numpy as np

from scenes import Scene

SYNONYMS: dict[str, list[str]] = {
    # The first spelling is the one of the main template and is drawn more often than all others together.
    "small": ["small", "little", "tiny"],
    "medium": ["medium", "medium-sized", "mid-sized"],
    "large": ["large", "big", "huge"],
    "gray": ["gray", "grey"],
    "purple": ["purple", "violet"],
    "circle": ["circle", "disc", "dot", "ball"],
    "square": ["square", "box"],
    "diamond": ["diamond", "rhombus"],
    "cross": ["cross", "plus"],
}

PLACES: dict[str, list[str]] = {
    "center": [
        "in the center", "in the centre", "in the middle", "at the center", "at the centre", "centered", "centred",
        "in the middle of the picture", "in the center of the image",
    ],
    "top": ["in the top", "at the top", "near the top", "at the top of the picture", "at the upper edge", "on the top side"],
    "bottom": [
        "in the bottom", "at the bottom", "near the bottom", "at the bottom of the picture", "at the lower edge",
        "on the bottom side",
    ],
    "left": ["in the left", "on the left", "at the left", "to the left", "on the left side", "on the left of the image", "near the left edge"],
    "right": [
        "in the right", "on the right", "at the right", "to the right", "on the right side", "on the right of the image",
        "near the right edge",
    ],
}  # fmt: skip
for _v, _vs in (("top", ["top", "upper"]), ("bottom", ["bottom", "lower"])):
    for _h in ("left", "right"):
        PLACES[f"{_v} {_h}"] = [f"in the {_v} {_h}"] + [
            form.format(v=v, h=_h)
            for v in _vs
            for form in (
                "in the {v} {h} corner", "at the {v} {h}", "in the {v}-{h} corner", "{v} {h}", "on the {v} {h}",
                "in the {h} {v} corner", "at the {v} {h} of the picture",
            )
        ]  # fmt: skip

GROUNDS = [
    "on a {} background", "on a {} ground", "with a {} background", "against a {} background", "on {}", "over {}",
    "in front of a {} background", "on a {} canvas",
]  # fmt: skip
BEFORE = [
    "a picture of", "an image of", "a photo of", "please draw", "draw", "paint", "show me", "i want", "make", "a drawing of",
    "generate", "create an image of", "photo of", "there is", "a simple picture of", "illustration of", "please",
]  # fmt: skip
AFTER = ["please", "thanks", "high quality", "4k", "flat", "simple", "clean", "vector art", "minimal", "detailed", "best quality", "!", "."]
BARE = ["", "", "", "blurry", "ugly", "bad quality", "blurry, low quality", "low quality, bad", "watermark, text", "deformed"]

MAIN = "a {size} {colour} {shape} in the {place} on a {ground} background"


def main_caption(scene: Scene) -> str:
    """The sentence of the documentation; the article follows the next word's sound."""
    return _articles(MAIN.format(**scene.words()))


def _articles(text: str) -> str:
    return re.sub(r"\ba (?=orange|upper)", "an ", text)


def _pick(rng: np.random.Generator, words: list[str]) -> str:
    return words[0] if len(words) == 1 or rng.random() < 0.5 else words[int(rng.integers(1, len(words)))]


def junk(rng: np.random.Generator) -> str:
    """A word nobody knows."""
    letters = string.ascii_lowercase
    return "".join(letters[int(i)] for i in rng.integers(0, len(letters), int(rng.integers(2, 9))))


def variant(scene: Scene, rng: np.random.Generator, leave_out: float = 0.0) -> tuple[str, dict[str, str]]:
    """One of the natural ways to say it, and what was said. Each attribute is left out with chance `leave_out`."""
    said = {k: v for k, v in scene.words().items() if rng.random() >= leave_out}
    w = {k: _pick(rng, SYNONYMS.get(v, [v])) for k, v in said.items() if k != "place"}
    size, colour, shape = w.get("size", ""), w.get("colour", ""), w.get("shape", "shape" if rng.random() < 0.7 else "thing")
    place = _pick(rng, PLACES[said["place"]]) if "place" in said else ""
    article = ["a ", "a ", "a ", "one ", "the ", ""][int(rng.integers(6))]
    thing = f"{size} {colour} {shape}" if rng.random() < 0.85 else f"{colour} {size} {shape}"
    ground = w.get("ground", "")
    on = _pick(rng, GROUNDS).format(ground) if ground else ""
    form = int(rng.integers(8))
    if form <= 2:
        text = f"{article}{thing} {place} {on}"
    elif form == 3:
        text = f"{on}, {article}{thing} {place}" if on else f"{place} {article}{thing}"
    elif form == 4:
        noun = ["background", "ground", "canvas", "picture"][int(rng.integers(4))]
        text = f"a {ground} {noun} with {article}{thing} {place}" if ground else f"{article}{thing} {place}"
    elif form == 5:
        bare = re.sub(r"^(in|on|at|to|near) the ", "", place)
        text = ", ".join(x for x in (thing, bare, f"{ground} background" if ground else "") if x)
    elif form == 6:
        traits = " and ".join(x for x in (colour, size) if x)
        text = f"{article}{shape}" + (f" that is {traits}" if traits else "") + f" {place} {on}"
    else:
        text = f"{article}{thing} {on} {place}"
    return _articles(" ".join(text.replace(" ,", ",").split())).strip(" ,"), said


def caption(scene: Scene, rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """What training reads: mostly clean, sometimes with fillers, junk, attributes left out, or no word about it at all."""
    dice = rng.random()
    if dice < 0.02:
        return BARE[int(rng.integers(len(BARE)))], {}
    if dice < 0.35:
        text, said = main_caption(scene), scene.words()
    elif dice < 0.75:
        text, said = variant(scene, rng)
    else:
        text, said = variant(scene, rng, leave_out=0.25)
    if rng.random() < 0.15:
        text = f"{BEFORE[int(rng.integers(len(BEFORE)))]} {text}"
    if rng.random() < 0.10:
        text = f"{text}, {AFTER[int(rng.integers(len(AFTER)))]}"
    if rng.random() < 0.06:
        words = text.split()
        for _ in range(int(rng.integers(1, 3))):
            words.insert(int(rng.integers(len(words) + 1)), junk(rng))
        text = " ".join(words)
    return text, said


def _all_words() -> list[str]:
    texts = [MAIN.replace("{", "").replace("}", ""), "an one the that is and thing shape it corner side edge"]
    texts += BEFORE + AFTER + BARE + GROUNDS + sum(PLACES.values(), []) + sum(SYNONYMS.values(), [])
    texts += [" ".join(Scene(0, i, 0, 0, 0).words()["colour"] for i in range(10))]
    texts += [" ".join(Scene(0, 0, i, 0, 0).words()["shape"] for i in range(6))]
    return sorted({w for t in texts for w in re.findall(r"[a-z]+", t.replace("{}", " "))})


WORDS = _all_words()
