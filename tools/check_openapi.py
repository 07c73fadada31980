#!/usr/bin/env python3
"""Compare openapi/easel.json with what the built gateway exports; `make openapi` writes it anew."""

import difflib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")

committed = (ROOT / "openapi" / "easel.json").read_text()
exported = subprocess.run([TARGET / "debug" / "easel", "openapi", "export"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
if exported == committed:
    print("openapi/easel.json is what the handlers say")
else:
    sys.stdout.writelines(difflib.unified_diff(
        committed.splitlines(True), exported.splitlines(True), "openapi/easel.json", "easel openapi export", n=2))
    sys.exit("openapi/easel.json is not what the handlers say: `make openapi` writes it anew")
