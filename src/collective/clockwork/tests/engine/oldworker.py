"""A worker process whose code is from before jobs had options.

That code cannot be shipped. What it does not know is hidden here from the code of now:
attributes that it neither reads nor loses, and modules that it cannot import. A source
directory of that code, in the environment variable of ``SOURCE``, lets the tests that
use ``PROGRAMS`` run the code itself, too.
"""

from __future__ import annotations

from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.deaths import Mortal
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.options import Options
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.retention import Keeping
from collective.clockwork.tests.engine import zeoprocess

import os
import sys


SOURCE = "CLOCKWORK_OLD_SOURCE"

#: The stand-in; and the code itself, if there is some.
PROGRAMS = {
    "stand-in": zeoprocess.program("collective.clockwork.tests.engine.oldworker")
}
if SOURCE in os.environ:
    PROGRAMS["code"] = [
        *("env", f"PYTHONPATH={os.environ[SOURCE]}"),
        *zeoprocess.PROGRAM,
    ]


def declared(*kinds: type) -> set[str]:
    """The stored attributes that these classes have a default for."""
    return {
        name
        for kind in kinds
        for name, value in vars(kind).items()
        if name.startswith("_") and not name.startswith("__") and not callable(value)
    }


#: Attributes that have come since.
UNKNOWN = {
    Job: declared(Options, Mortal) | {"_cursors", "_report", "_snoozed"},
    Queue: declared(Keeping)
    | {"_quarantine", "cancels", "keys", "paused", "withdrawn"},
    Agent: {"board", "paused"},
}

#: Modules that have come since, and whose classes are stored, or used by jobs.
MISSING = (
    *("backoff", "cancelling", "context", "deaths", "errors", "options", "outcomes"),
    *("pausing", "progress", "quarantine", "retention", "unique"),
)


def forget(kind: type, names: set[str]) -> None:
    """Let objects of this class not know these attributes, and keep them stored."""
    read, write = kind.__setstate__, kind.__getstate__

    def set_state(self, state):
        read(self, state)
        found = vars(self)
        kept = {name: found.pop(name) for name in names if name in found}
        found["_v_kept"] = kept

    def get_state(self):
        return {**write(self), **vars(self).get("_v_kept", {})}

    kind.__setstate__, kind.__getstate__ = set_state, get_state


def forget_all() -> None:
    """Let this process be one of that time."""
    for kind, names in UNKNOWN.items():
        forget(kind, names)
    for name in MISSING:
        # Imported already by the engine; whoever asks from now on does not get it.
        sys.modules[f"collective.clockwork.engine.{name}"] = None


if __name__ == "__main__":
    forget_all()
    zeoprocess.main(*sys.argv[1:])
