"""Two figures: how soon a killed worker's jobs go on, and how long a frozen one
that holds the storage's commit lock stops the others.

``python -m chaos.recovery``; the first is measured at the engine's own intervals.
"""

from __future__ import annotations

from chaos import stages
from chaos.jobs import Entry
from chaos.jobs import hold
from chaos.stack import Stack
from chaos.stack import Worker
from collections.abc import Iterator
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_until
from pathlib import Path
from uuid import UUID
from ZEO.Exceptions import ClientDisconnected

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
import transaction


#: Seconds that anything here may take.
PATIENCE = 200
#: Seconds that a commit is waited for.
WATCHED = 10
#: What lets ZEO give the commit lock back.
IMPORT = "%import collective.clockwork.engine.zeoserver"


def recovery_of_killed(stack: Stack) -> float:
    """Seconds from a worker's SIGKILL to the end of its jobs in another one.

    The worker is killed when it has just given a sign of life: the worst moment.
    """
    first = start(stack, 2)
    queue = stack.root[KEY][""]
    paths = [stack.directory / f"held{number}" for number in range(2)]
    held = [queue.put(Job(hold, Entry(), str(path))) for path in paths]
    transaction.commit()
    wait_until(
        lambda: all(path.exists() for path in paths), "beginning of the jobs", PATIENCE
    )
    start(stack, 3)
    agents = queue.dispatchers[first.uuid]
    last = ping_of(agents)
    wait_until(lambda: ping_of(agents) != last, "a sign of life", PATIENCE)
    first.process.kill()
    begun = time.monotonic()
    wait_until(lambda: all_done(held), "the jobs", PATIENCE)
    return time.monotonic() - begun


def start(stack: Stack, number: int) -> Worker:
    """Start a worker at the engine's own intervals, and wait until it works."""
    worker = stack.worker(number, intervals=(0, 0))
    wait_until(lambda: is_active(stack, worker.uuid), "the worker", PATIENCE)
    return worker


def is_active(stack: Stack, uuid: UUID) -> bool:
    """Whether this dispatcher is at work."""
    transaction.begin()
    agents = stack.root[KEY][""].dispatchers.get(uuid)
    return agents is not None and agents.activated is not None


def ping_of(agents) -> int:
    """A dispatcher's last sign of life."""
    transaction.begin()
    return agents.ping.at


def all_done(jobs: list) -> bool:
    """Whether these jobs are completed."""
    transaction.begin()
    return all(job._status == 3 for job in jobs)


def stop_by_frozen(stack: Stack) -> tuple[float | None, bool]:
    """How long others wait beside a worker that holds the commit lock.

    It is frozen between vote and finish. The first answer is in seconds, None if
    they wait for more than ``WATCHED`` of them; the second is whether they can
    commit when the worker has then been killed.
    """
    queue = stack.root[KEY][""]
    start(stack, 4)
    (stages.armed(stack.directory) / stages.FROZEN_AT).touch()
    queue.put(Job(os.getpid))
    transaction.commit()
    taken = stages.taken(stack.directory)
    wait_until(lambda: any(taken.iterdir()), "a vote", PATIENCE)
    committed = threading.Event()

    def commit() -> None:
        manager = transaction.TransactionManager()
        connection = stack.db.open(manager)
        connection.root()["committed"] = True
        # TypeError is what ``transaction`` makes of a storage that is closed
        # while it votes, which is how this ends if nobody gives the lock back.
        with contextlib.suppress(ClientDisconnected, TypeError):
            manager.commit()
            committed.set()

    begun = time.monotonic()
    threading.Thread(target=commit, daemon=True).start()
    beside = committed.wait(WATCHED)
    seconds = time.monotonic() - begun
    (path,) = taken.iterdir()
    os.kill(int(path.name.rpartition(".")[2]), signal.SIGKILL)
    return seconds if beside else None, committed.wait(WATCHED)


def configure(stack: Stack, line: str) -> None:
    """Start the server again with one line more in its zeo.conf."""
    stack.server.process.stop()
    storage = stack.db.storage
    wait_until(lambda: not storage.is_connected(), "the server's end", PATIENCE)
    with open(stack.server.configuration, "a") as stream:
        stream.write(f"{line}\n")
    stack.server.start()
    wait_until(storage.is_connected, "the server", PATIENCE)


def main() -> None:
    """Measure both, and say so."""
    with running() as stack:
        seconds = recovery_of_killed(stack)
        print(f"jobs of a killed worker were done elsewhere after {seconds:.1f} s")
    print("a worker is frozen between vote and finish; can others commit?", flush=True)
    for timeout, line in ((None, ""), (4, ""), (4, IMPORT)):
        with running(timeout, line) as stack:
            seconds, after = stop_by_frozen(stack)
        said = (
            f"not within {WATCHED} s" if seconds is None else f"after {seconds:.1f} s"
        )
        if seconds is None:
            said += f"; when it was killed then: {'yes' if after else 'no'}"
        print(f"transaction-timeout {timeout} {line or 'alone'}: {said}", flush=True)


@contextlib.contextmanager
def running(timeout: int | None = None, line: str = "") -> Iterator[Stack]:
    """A stack, which is gone afterwards; ``line`` is added to its zeo.conf."""
    directory = Path(tempfile.mkdtemp(prefix="clockwork-chaos-"))
    stack = Stack(directory, timeout)
    try:
        if line:
            configure(stack, line)
        yield stack
    finally:
        stack.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
