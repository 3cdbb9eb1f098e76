"""Workers and producers as processes, and how to talk to them.

A child says one line of JSON when it is ready and one with its figures at the
end. What it does is in ``child.py``.
"""

from __future__ import annotations

from pathlib import Path

import json
import os
import subprocess
import sys
import threading


CHILD = Path(__file__).parent / "child.py"
#: Seconds within which a child must have said what it has to say.
PATIENCE = 120


class Child:
    """A process of the measurement; a context manager, which ends it."""

    def __init__(self, role: str, address: int | str, **options):
        command = [sys.executable, str(CHILD), role, str(address)]
        command.append(json.dumps(options))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.role = role
        self.said: dict | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_error) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def ready(self) -> Child:
        """Wait until it can begin."""
        self._listen()
        return self

    def go(self) -> None:
        """Let it begin."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def figures(self) -> dict:
        """Wait for what it measured."""
        self.said = self._listen()
        self.process.wait(PATIENCE)
        return self.said

    def stop(self) -> dict:
        """Ask it to end with SIGTERM; returns its last words."""
        self.process.terminate()
        return self.figures()

    def _listen(self) -> dict:
        # A silent child must not hang the whole run.
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        try:
            line = self.process.stdout.readline()
        finally:
            alarm.cancel()
        if not line:
            raise RuntimeError(f"the {self.role} process ended without an answer")
        return json.loads(line)

    def cpu_seconds(self) -> float | None:
        """Processor time that it used so far; None where /proc is missing."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return None
        # The name of the command, in parentheses, may contain blanks.
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> float | None:
        """Most memory that it held so far, in MB; None where /proc is missing."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) / 1024
