"""Stages of a job's life at which a worker process can be made to end or freeze.

The driver arms a stage by making a file of its name; the first worker that
comes there takes the file away, and is gone.
"""

from __future__ import annotations

from pathlib import Path

import os
import signal
import threading


#: Environment variable: the directory of the run.
DIRECTORY = "CLOCKWORK_CHAOS"
#: Environment variable: which worker this is.
WORKER = "CLOCKWORK_CHAOS_WORKER"

#: Stage to what it means; a worker is killed there.
KILLED_AT = {
    "claimed": "between claim and start",
    "started": "at the start of the function",
    "worked": "in the function, after its effect",
    "item": "in a resumable loop, after an item's effect",
    "job-before-vote": "in the job's commit, before the vote",
    "job-after-vote": "in the job's commit, holding the commit lock",
    "job-in-finish": "in the job's commit, when it has just landed",
    "job-after-finish": "after the job's commit",
    "claim-after-vote": "in the claim's commit, holding the commit lock",
    "claim-in-finish": "in the claim's commit, when it has just landed",
    "callback": "in a callback",
    "callback-worked": "in a callback, after its effect",
}
#: Stage at which a worker is stopped, and continued later.
FROZEN_AT = "freeze-after-vote"


def armed(directory: Path) -> Path:
    """Where the files of armed stages are."""
    return directory / "armed"


def taken(directory: Path) -> Path:
    """Where a worker moves the file that it took: ``STAGE.WORKER.PID``."""
    return directory / "taken"


def reach(stage: str) -> None:
    """Say that this process has come to a stage; may be the last that it does."""
    directory = os.environ.get(DIRECTORY)
    if directory is None:
        return
    source = armed(Path(directory)) / stage
    if not source.exists():
        return
    worker = os.environ.get(WORKER, "none")
    name = f"{stage}.{worker}.{os.getpid()}"
    try:
        source.rename(taken(Path(directory)) / name)
    except FileNotFoundError:
        # Another one was faster.
        return
    sign = signal.SIGSTOP if stage == FROZEN_AT else signal.SIGKILL
    # To this thread, which thereby is the first to stop: a signal to the process
    # may be taken by another thread, some moments later.
    signal.pthread_kill(threading.get_ident(), sign)
