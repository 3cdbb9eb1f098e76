"""A dispatcher in a process whose reactor runs."""

from __future__ import annotations

import ast
import subprocess
import sys


def test_events_keep_their_order_while_the_reactor_runs():
    command = [sys.executable, "-m", f"{__package__}.reactorwork"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert said.returncode == 0, said.stderr
    assert ast.literal_eval(said.stdout) == [
        ("slow", 0.05),
        ("thread", True),
        ("slow", 0.05),
        ("asked", True),
        ("slow", 0),
    ]
    assert said.stderr == ""
