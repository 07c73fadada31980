"""What tools/run_tests.py reads out of its steps. Run: python3 -m unittest discover tools/tests"""

import contextlib
import io
import sys
import time
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOOLS))

import run_tests  # noqa: E402

SAID = """\
     Running unittests src/lib.rs (target/debug/deps/easel-0a1b2c3d4e5f6071)
running 3 tests
\\x1b[32mtest result: ok\\x1b[0m. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s
report: router order: 500 cases
     Running tests/front_door.rs (target/debug/deps/front_door-0a1b2c3d4e5f6071)
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s
     Running unittests src/main.rs (target/debug/deps/easel-1111111111111111)
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests easel
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.30s
Ran 7 tests in 0.1s
FAILED (failures=1, errors=1)
"""


class Reading(unittest.TestCase):
    def outcome(self, code: int = 0) -> run_tests.Outcome:
        command = [sys.executable, "-c", f"print('''{SAID}'''); exit({code})"]
        with contextlib.redirect_stdout(io.StringIO()):
            return run_tests.run(run_tests.Step("test", "all Rust tests", command), {})

    def test_counts_of_cargo_and_unittest_are_added_up(self):
        outcome = self.outcome(code=101)
        self.assertEqual((outcome.code, outcome.passed, outcome.failed, outcome.skipped), (101, 12, 3, 1))

    def test_suites_are_named_and_empty_ones_left_out(self):
        self.assertEqual([suite[0] for suite in self.outcome().suites],
                         ["easel: unittests src/lib.rs", "front_door: tests/front_door.rs", "easel: doc tests"])

    def test_a_process_left_behind_keeps_nobody_waiting(self):
        command = ["sh", "-c", "sleep 30 & echo 'report: left'; printf 'no newline'"]
        said = io.StringIO()
        began = time.monotonic()
        with contextlib.redirect_stdout(said):
            outcome = run_tests.run(run_tests.Step("test", "", command), {"PATH": "/usr/bin:/bin"})
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(outcome.reports, ["left"])
        self.assertIn("has outlived it", said.getvalue())
        self.assertIn("no newline", said.getvalue())

    def test_the_report_tells_all_of_it(self):
        page = run_tests.report([self.outcome(code=101)], ["nginx"], "long", 75.0)
        for text in ("12 passed, 3 failed, 1 skipped, in 1 min 15 s", "| test | all Rust tests | failed |",
                     "Absent, not run: nginx.", "| front_door: tests/front_door.rs | 4 | 1 | 0 | 1.50s |",
                     "- router order: 500 cases"):
            self.assertIn(text, page)


if __name__ == "__main__":
    unittest.main()
