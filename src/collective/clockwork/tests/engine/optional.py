"""Jobs with options."""

from __future__ import annotations

from collective.clockwork.engine.job import Job
from collective.clockwork.engine.options import apply
from collective.clockwork.tests.engine import work


def job_with(**options) -> Job:
    """A new job with these options."""
    job = Job(work.answer)
    apply(job, options)
    return job


def count_in(tree, name):
    """Notes that it was here, and how often."""
    tree[name] = tree.get(name, 0) + 1
    return name
