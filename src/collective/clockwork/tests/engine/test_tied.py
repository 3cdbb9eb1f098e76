"""The processes that tests start end with them."""

from __future__ import annotations

from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import zeoprocess
from pathlib import Path

import os
import pytest
import subprocess
import sys


pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing ties a process to another"
)

#: Starts a process that stops itself, waits for that, and is killed.
PARENT = """
from collective.clockwork.tests.engine.zeoprocess import tied
import os, signal, subprocess, sys
stop = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
child = subprocess.Popen(tied([sys.executable, "-c", stop]))
os.waitpid(child.pid, os.WUNTRACED)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def has_ended(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_a_process_ends_with_a_parent_that_is_killed_even_if_it_is_stopped():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.run(
        [sys.executable, "-c", PARENT],
        capture_output=True,
        text=True,
        env=environment,
        timeout=zeoprocess.PATIENCE,
    )
    pid = parent.stdout.strip()
    assert pid, parent.stderr
    wait_until(lambda: has_ended(pid), f"the end of {pid}", zeoprocess.PATIENCE)


def test_a_process_whose_parent_has_ended_already_is_not_run():
    command = zeoprocess.tied([sys.executable, "-c", "print('run')"])
    command[command.index(str(os.getpid()))] = "1"
    late = subprocess.run(command, capture_output=True, text=True)
    assert late.returncode == 1
    assert late.stdout == ""
    assert "has ended" in late.stderr
