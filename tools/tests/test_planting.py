"""The bugs that `tools/parity/*mutations.py` plant stand where they say: sources change, and planting takes an hour."""

import importlib
import sys
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOOLS / "parity"))


class Planting(unittest.TestCase):
    def test_what_is_replaced_is_found_once(self):
        scripts = sorted(path.stem for path in (TOOLS / "parity").glob("*mutations.py"))
        self.assertGreaterEqual(len(scripts), 3)
        for script in scripts:
            for bug in importlib.import_module(script).BUGS:
                with self.subTest(script=script, bug=bug.name):
                    source = (TOOLS.parent / "crates" / "engine" / bug.file).read_text()
                    self.assertEqual(source.count(bug.old), 1, f"{bug.file}: {bug.old!r}")
                    self.assertNotEqual(bug.old, bug.new)


if __name__ == "__main__":
    unittest.main()
