"""A parent for a worker process: starts it again, and says what it died of.

``python -m collective.clockwork.engine.supervisor [--] COMMAND...`` runs the command as
a child, hands SIGTERM and SIGINT on to it, and starts it again when it died, after
waits that grow from one second to a minute. It ends with the child when that was asked
to stop, or ended with exit code 0 (in order) or 2 (it cannot work as it was called).

Of each other death it writes a note for the child's next start: signal or exit code,
the most memory in use, the last lines of its standard error stream. Notes are in a
file beside the worker's UUID file, named by the UUID; the next worker with that UUID
file, or with one in the same directory, takes them out with ``read_notes``.

**Log lines may hold secrets.** Of them at most 20 lines of 200 characters go into a
note, and from there into the database, to the jobs that had brought the process down.
The file of notes can be read by its owner only. The stream itself is passed on as it
is.

A child that is frozen is not noticed here but by the other workers, which take its
jobs over.
"""

from __future__ import annotations

from . import clock
from .instanceuuid import getUUID
from .instanceuuid import uuid_file
from collections import deque
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import argparse
import contextlib
import ctypes
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading


log = logging.getLogger("collective.clockwork.engine.supervisor")

#: Lines of the child's log that a note keeps, and characters of each.
LINES, CHARACTERS = 20, 200
#: Notes that wait at most to be read: the newest.
NOTES = 5
#: Seconds before the second start, factor for each further one, longest wait, and
#: seconds that a child must have lived for the waits to begin anew.
FIRST_WAIT, GROWTH, LONGEST_WAIT, LIVED_WELL = 1.0, 2.0, 60.0, 60.0
#: Exit codes after which a child is not started again.
FINAL = (0, 2)
#: Signals that are handed on.
HANDED_ON = (signal.SIGTERM, signal.SIGINT)
#: From ``linux/prctl.h``: which signal to get when the parent ends.
PR_SET_PDEATHSIG = 1


# Notes


@dataclass(frozen=True)
class Note:
    """What a supervisor saw of the death of one process."""

    #: When, in microseconds since 1970.
    at_us: int
    host: str
    pid: int
    #: One of the two; the signal by name, "SIGKILL" for instance.
    exit_code: int | None
    signal: str | None
    #: Most memory that it had in use at once, in bytes.
    peak_rss: int
    #: The last lines of its standard error stream.
    lines: tuple[str, ...]


def notes_file(uuid: UUID) -> Path:
    """Where the notes about a worker are, beside the UUID file of this process."""
    return uuid_file().with_name(f"{uuid}.deaths.json")


def write_note(uuid: UUID, note: Note) -> None:
    """Keep a note until ``read_notes``; OSError if the file cannot be written."""
    path = notes_file(uuid)
    notes = [*_load(path), note][-NOTES:]
    text = json.dumps([asdict(each) for each in notes])
    draft = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w") as stream:
        stream.write(text)
    draft.replace(path)


def read_notes(uuid: UUID) -> list[Note]:
    """The notes about the worker with this UUID, oldest first; removes them."""
    path = notes_file(uuid)
    notes = _load(path)
    with contextlib.suppress(OSError):
        path.unlink()
    return notes


def _load(path: Path) -> list[Note]:
    try:
        return [_note(**fields) for fields in json.loads(path.read_text())[-NOTES:]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, LookupError) as error:
        # Evidence is worth much less than a worker that starts.
        log.warning("the notes in %s cannot be read: %r", path, error)
        return []


def _note(at_us, host, pid, exit_code, signal, peak_rss, lines) -> Note:
    return Note(
        at_us=int(at_us),
        host=str(host),
        pid=int(pid),
        exit_code=None if exit_code is None else int(exit_code),
        signal=None if signal is None else str(signal),
        peak_rss=int(peak_rss),
        lines=tuple(str(line)[:CHARACTERS] for line in lines[-LINES:]),
    )


# The child


class Tail:
    """Takes in a stream of bytes and remembers its last lines."""

    def __init__(self):
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._unfinished = b""
        self._lock = threading.Lock()

    def feed(self, data: bytes) -> None:
        """Take in what comes next."""
        first, *rest = data.split(b"\n")
        with self._lock:
            # A character is four bytes at most; what is longer is cut at once.
            self._unfinished = (self._unfinished + first)[: 4 * CHARACTERS]
            for piece in rest:
                self._lines.append(self._unfinished)
                self._unfinished = piece[: 4 * CHARACTERS]

    def lines(self) -> tuple[str, ...]:
        """The last lines, oldest first, without what cannot be printed."""
        with self._lock:
            found = [*self._lines]
            if self._unfinished:
                found.append(self._unfinished)
        return tuple(_printable(line) for line in found[-LINES:])


def _printable(line: bytes) -> str:
    text = line.decode(errors="replace")[:CHARACTERS]
    return "".join(each if each.isprintable() else " " for each in text).rstrip()


class Child:
    """One process that runs the command."""

    def __init__(self, command: list[str]):
        self.tail = Tail()
        self.started = clock.monotonic()
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, preexec_fn=_end_with_parent
        )
        self.pid = self._process.pid
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def hand_on(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self) -> Note:
        """Wait for its end, and tell how that was."""
        _pid, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        # What it wrote last may still be in the pipe; a process of its own that goes
        # on may keep that open.
        self._thread.join(1)
        # Kilobytes, except on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        return Note(
            at_us=clock.now_us(),
            host=socket.gethostname(),
            pid=self.pid,
            exit_code=code if code >= 0 else None,
            signal=None if code >= 0 else _signal_name(-code),
            peak_rss=usage.ru_maxrss * unit,
            lines=self.tail.lines(),
        )

    def _pass_on(self) -> None:
        stream = self._process.stderr
        target = sys.stderr.fileno()
        with stream:
            while data := os.read(stream.fileno(), 65536):
                self.tail.feed(data)
                # Even if nobody takes it: the child must not have to wait.
                with contextlib.suppress(OSError):
                    _write_all(target, data)


def _write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Real-time signals have no names.
        return f"signal {number}"


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the child: stop in order when the supervisor is killed."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Runs ``command`` until it is stopped, under the UUID that is this process's.

    Works in the main thread only, because it handles signals.
    """

    def __init__(
        self,
        command: list[str],
        first_wait: float = FIRST_WAIT,
        uuid: UUID | None = None,
    ):
        self.command = command
        self.uuid = getUUID() if uuid is None else uuid
        self.first_wait = first_wait
        self._child: Child | None = None
        self._stopping = False
        self._failures = 0
        # Written to by the signal handler: an Event could be locked by the very
        # thread that it interrupts.
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def run(self) -> int:
        """Run the command, again and again; returns the last exit code.

        128 and the number of the signal for a child that died of one.
        """
        previous = {number: signal.signal(number, self._handle) for number in HANDED_ON}
        try:
            while True:
                note = self._run_once()
                if self._stopping or note.exit_code in FINAL:
                    return _exit_code(note)
                self._keep(note)
                self._pause()
                if self._stopping:
                    return _exit_code(note)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            os.close(self._woken)
            os.close(self._waker)

    def _run_once(self) -> Note:
        child = self._child = self._start()
        if self._stopping:
            # Asked while it was being started.
            child.hand_on(signal.SIGTERM)
        note = child.wait()
        self._child = None
        lived = clock.monotonic() - child.started
        self._failures = 1 if lived >= LIVED_WELL else self._failures + 1
        return note

    def _start(self) -> Child:
        while True:
            try:
                return Child(self.command)
            except OSError as error:
                if not self._failures or self._stopping:
                    raise
                # It could be run before: it may just be being replaced.
                log.error("%s cannot be started: %s", self.command[0], error)
                self._failures += 1
                self._pause()

    def _handle(self, number: int, frame: object) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.hand_on(number)
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b".")

    def _keep(self, note: Note) -> None:
        log.error(
            "process %d died: %s; it had at most %d MB in use",
            note.pid,
            note.signal or f"exit code {note.exit_code}",
            note.peak_rss // 1_000_000,
        )
        try:
            write_note(self.uuid, note)
        except OSError as error:
            log.error("the note about process %d is lost: %s", note.pid, error)

    def _pause(self) -> None:
        growth = GROWTH ** min(self._failures - 1, 20)
        wait = min(self.first_wait * growth, LONGEST_WAIT)
        log.info("the next start is in %g s", wait)
        select.select([self._woken], [], [], wait)


def _exit_code(note: Note) -> int:
    if note.exit_code is not None:
        return note.exit_code
    return 128 + getattr(signal, note.signal, 0)


def supervise(command: list[str]) -> int:
    """Run a worker's command under supervision; see Supervisor."""
    return Supervisor(command).run()


def main(argv: list[str] | None = None) -> int:
    """Run a command under supervision: the command line of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m collective.clockwork.engine.supervisor",
        description="Runs a worker, starts it again when it died, and notes why.",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run")
    command = parser.parse_args(argv).command
    if command[:1] == ["--"]:
        del command[0]
    if not command:
        parser.error("which command? Give it after --")
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s [%(name)s] %(message)s",
    )
    try:
        return supervise(command)
    except (OSError, ValueError) as error:
        # The command, or the UUID file.
        log.error("%s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
