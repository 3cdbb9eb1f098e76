"""A process of the local stack: started, watched and stopped, its output in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import os
import signal
import subprocess
import time


class ChildDied(Exception):
    """A process of the stack ended though nobody had asked it to."""

    def __init__(self, child: Child, lines: int = 20) -> None:
        self.name = child.name
        super().__init__(
            f"The {child.name} process has ended (exit code {child.returncode}). "
            f"The last lines of {child.log}:\n\n{child.tail(lines)}"
        )


class Child:
    """One process, in a session of its own so that Ctrl-C does not reach it.

    The stack alone decides in which order its processes stop.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        log: Path,
        environ: dict[str, str],
        directory: Path,
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.environ = environ
        self.directory = directory
        self._process: subprocess.Popen | None = None
        self._log_start = 0

    @property
    def alive(self) -> bool:
        """Whether the process was started and still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id, None before the first start."""
        return self._process.pid if self._process is not None else None

    @property
    def returncode(self) -> int | None:
        """The exit code, None while the process runs or before it was started."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start the process. Its output is appended to the log."""
        if self.alive:
            raise RuntimeError(f"The {self.name} process runs already.")
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environ,
                cwd=self.directory,
                start_new_session=True,
            )

    def stop(self, seconds: float = 60) -> None:
        """Ask the process to end (SIGTERM); kill it when that takes too long."""
        if not self.alive:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a power failure would."""
        if self.alive:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Hold the process still (SIGSTOP) until :meth:`thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until `condition` holds.

        Raises ChildDied when the process ends before, TimeoutError when the
        seconds are over.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.alive:
                raise ChildDied(self)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"The {self.name} process was not ready after {seconds:g} "
                    f"seconds. The last lines of {self.log}:\n\n{self.tail()}"
                )
            time.sleep(0.1)

    def has_logged(self, text: str) -> bool:
        """Whether `text` stands in what this start of the process has logged."""
        return text in self._output()

    def tail(self, lines: int = 20) -> str:
        """The last lines that this start of the process has logged."""
        return "\n".join(self._output().splitlines()[-lines:])

    def _output(self) -> str:
        with open(self.log, "rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")
