"""What the measured jobs do."""

from __future__ import annotations

from persistent import Persistent

import time


class Target(Persistent):
    """An object that one job writes."""

    count = 0

    def touch(self) -> None:
        """Change this object, and nothing else."""
        self.count += 1


def nothing(number: int = 0) -> None:
    """No work at all: what is left is the cost of the queue."""


def now() -> float:
    """When the job was begun, in seconds since 1970."""
    return time.time()


def retitle(context, number: int) -> None:
    """Change a page of Plone, and have the catalog index it anew."""
    context.title = f"Page {number}"
    context.reindexObject()
