"""A T5 vocabulary small enough to commit: pieces with scores, a table of characters, and both as a `spiece.model`.

The two binary forms are written by hand, because the libraries that write them cannot be told what to write: the table is
a double-array trie as darts-clone lays it out, the model a protobuf message of SentencePiece.
"""

from __future__ import annotations

import struct

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
EXTRA_IDS = 4
WORDS = [("▁a", -3.0), ("▁the", -3.1), ("▁of", -3.2), ("ing", -3.5), ("▁paint", -4.0), ("▁painting", -4.4), ("▁red", -4.5), ("▁cat", -4.6),
         ("▁dog", -4.7), ("squirr", -5.5), ("▁squirrel", -5.6), ("el", -4.1), ("▁s", -3.9), ("fi", -5.0), ("日本", -7.0), ("é", -7.5)]
# What T5's own table does to some characters: compatibility forms spelled out, odd spaces made plain, controls dropped.
CHARACTERS = {"ﬁ": "fi", "Ａ": "A", "ｆ": "f", "\u00a0": " ", "\u2003": " ", "\t": " ", "\n": " ", "\u200b": " ", "…": "...", "½": "1⁄2", "e\u0301": "é", "\x7f": ""}


def pieces() -> list[tuple[str, float]]:
    """As a file of SentencePiece lists them, without the marks for gaps."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'-&"
    return [(PAD, 0.0), (END, 0.0), (UNKNOWN, 0.0), ("▁", -2.0), *((c, -6.0 - i * 0.01) for i, c in enumerate(letters)), *WORDS]


def gaps() -> list[tuple[str, float]]:
    return [(f"<extra_id_{i}>", 0.0) for i in range(EXTRA_IDS - 1, -1, -1)]


def charsmap() -> bytes:
    """The table: length of the trie, trie, replacements one after the other with a zero after each."""
    texts, replacements = b"", {}
    for source, target in CHARACTERS.items():
        replacements[source.encode()] = len(texts)
        texts += target.encode() + b"\0"
    units: dict[int, int] = {}
    taken: set[int] = set()

    def place(position: int, prefix: bytes) -> None:
        """Lays the children of a node out where all their places are free, and points the node there."""
        labels = sorted({key[len(prefix)] for key in replacements if key.startswith(prefix) and len(key) > len(prefix)})
        ends = prefix in replacements
        wanted = ([0] if ends else []) + labels
        base = next(b for b in range(1, 1 << 20) if b not in taken and not any((b ^ label) in taken or (b ^ label) == 0 for label in wanted))
        taken.update({base} | {base ^ label for label in wanted})
        units[position] = units.get(position, 0) | ((position ^ base) << 10) | (int(ends) << 8)
        if ends:
            units[base] = (1 << 31) | replacements[prefix]
        for label in labels:
            units[base ^ label] = label
            place(base ^ label, prefix + bytes([label]))

    taken.add(0)
    place(0, b"")
    size = -(-(max(units) + 1) // 256) * 256  # a label may look anywhere in its block
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return struct.pack("<I", len(trie)) + trie + texts


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(tag: int, content: bytes) -> bytes:
    return varint(tag << 3 | 2) + varint(len(content)) + content


def spiece_model(model_type: int = 1) -> bytes:
    """`ModelProto` with pieces, a trainer's note of the kind of model, and the table."""
    kinds = {PAD: 3, END: 3, UNKNOWN: 2}
    out = b"".join(field(1, field(1, piece.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + varint(3 << 3) + varint(kinds.get(piece, 1)))
                   for piece, score in pieces())
    return out + field(2, varint(3 << 3) + varint(model_type)) + field(3, field(1, b"nmt_nfkc") + field(2, charsmap()))
