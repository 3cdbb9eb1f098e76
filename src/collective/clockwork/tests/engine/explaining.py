"""What jobs say about themselves, compared."""

from __future__ import annotations

from collective.clockwork.engine.explain import explain
from ZODB.utils import u64


NAME = "collective.clockwork.tests.engine.work.answer"


def check(job, code: str, text: str, **values):
    """The job has this reason, and finding it wrote nothing."""
    reason = explain(job)
    assert reason.code == code
    assert reason.values == values
    assert str(reason) == reason.text == text
    assert job._p_jar is None or not job._p_jar._registered_objects


def named(job) -> str:
    return f"{NAME} (oid {u64(job._p_oid)})"
