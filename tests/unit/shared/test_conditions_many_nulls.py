"""Nulls in results do not wear None out (see `_keep_none`)."""

import subprocess
import sys

_MANY = """
from percorso_shared.conditions import compile_value
nulls = compile_value("[event.a, event.b, event.c, event.d]")
for _ in range(20_000):
    assert nulls.evaluate(event={}).value == [None] * 4
print("alive")
"""


def test_a_process_outlives_more_nulls_than_none_has_references():
    done = subprocess.run([sys.executable, "-c", _MANY], capture_output=True, text=True, timeout=60)
    assert done.stdout == "alive\n", done.stderr
