"""What the scripts here share: the stand-in's /admin page (argv[2]), and a picture to send."""

import json
import struct
import sys
import urllib.request
import zlib

BASE_URL, ADMIN = sys.argv[1:3]


def behave(*script, **behaviour):
    """Says what the stand-in does next, and returns what it counted before."""
    wish = list(script) or behaviour
    request = urllib.request.Request(ADMIN, data=json.dumps(wish).encode(), method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
        return json.load(answer)["counts"]


def fetch(url):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
        return answer.read()


def size_of(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n"), png[:16]
    return struct.unpack(">II", png[16:24])


def png(width, height, alpha=False):
    """A picture of one colour."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = b"\0" + (b"\x20\x80\xf0\x7f" if alpha else b"\x20\x80\xf0") * width
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if alpha else 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * height))
            + chunk(b"IEND", b""))
