"""The examples in docs/features.rst."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import deaths
from collective.clockwork.engine import progress
from collective.clockwork.engine import quarantine
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.interfaces import QUARANTINED
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.codeblocks import Examples
from collective.clockwork.tests.codeblocks import ROOT
from collective.clockwork.tests.engine import work
from datetime import timedelta
from pathlib import Path

import pytest
import transaction


@pytest.fixture
def example(queue, monkeypatch):
    """Runs an example."""
    return Examples(
        "docs/features.rst",
        monkeypatch,
        queue=queue,
        Job=Job,
        transaction=transaction,
        timedelta=timedelta,
    )


@pytest.fixture
def done(example, db):
    """Runs an example, and the jobs that it has queued."""

    def run(name):
        module = example(name)
        drain(db)
        transaction.begin()
        return module

    return run


def test_each_example_is_run_here(example):
    source = Path(__file__).read_text()
    assert [name for name in example.blocks if f'"{name}"' not in source] == []


def test_options(done):
    job = done("options.py").job
    assert (job.result, job.priority) == ("index of books", 10)


def test_refused(example, queue, capsys):
    example("refused.py")
    said = capsys.readouterr().out.strip()
    assert f"prints ``{said}``" in (ROOT / "docs/features.rst").read_text()
    assert len(queue) == 0


def test_pause(example, queue):
    paused = example("pause.py").paused
    assert (paused.by, paused.reason) == ("anna", "moving the images")
    assert queue.paused is None


def test_again(done, db):
    module = done("again.py")
    assert module.job.result.check(KeyError)
    module.mend()
    drain(db)
    transaction.begin()
    assert module.job.result == "some news"
    assert [ending.kind for ending in module.job.endings] == ["KeyError"]


def test_stopping(example, start_dispatcher):
    example.module.dispatcher = worker = start_dispatcher()
    example("stopping.py")
    assert not worker.activated


def test_unique(done):
    module = done("unique.py")
    assert module.found is module.first is module.same
    assert module.first.result.check(CancelledError)
    assert module.newer.result == "NEWS"


def test_grouped(done):
    assert dict(done("grouped.py").counts) == {"a": 2, "b": 1}


def test_coroutine(done):
    assert done("coroutine.py").job.result == ["LEFT", "RIGHT"]


def test_context(done):
    ((number, key, attempt),) = done("context.py").sent
    assert (number, attempt) == (7, 1)
    assert key


def test_resumable(done):
    module = done("resumable.py")
    assert module.job.result is None
    assert set(module.pages.values()) == {"Text"}


def test_progress(done):
    said = progress.of(done("progress.py").job)
    assert (said.done, said.total, said.message) == (2, 2, "all converted")
    assert [line.text for line in said.lines] == ["a.png begun", "b.png begun"]


def test_cancel(done):
    module = done("cancel.py")
    assert module.answer == "withdrawn"
    assert module.job.result.getErrorMessage() == "cancelled by anna: wrong directory"


def test_timeout(done):
    assert done("timeout.py").job.result.check(JobTimeoutError)


def test_outcomes(done):
    cancelled, snoozed, postponed = done("outcomes.py").jobs
    assert cancelled.result.check(CancelledError)
    assert (snoozed.status, snoozed._tries) == (PENDING, 0)
    assert (postponed.status, postponed._tries) == (PENDING, 1)
    assert snoozed.begin_after > postponed.begin_after


def test_backoff(done):
    job = done("backoff.py").job
    assert (job.status, job._tries) == (PENDING, 1)


def test_retention(done, queue):
    job = done("retention.py").job
    assert (queue.keep_result, queue.keep_failure) == (
        timedelta(days=1),
        timedelta(days=30),
    )
    assert job.status == COMPLETED
    agents = [a for each in queue.dispatchers.values() for a in each.values()]
    assert not any(len(agent.completed) for agent in agents)


def test_explain(example, capsys):
    example("explain.py")
    said = capsys.readouterr().out
    assert said.startswith("Its queue is paused by anna since 2")
    assert said.endswith(" UTC: moving the images.\n")


def test_quarantine(example, queue, capsys):
    job = queue.put(work.nothing)
    transaction.commit()
    queue.pull()
    job._deaths = deaths.Evidence()
    job._deaths.add(deaths.Death(1, "a worker", "host", 4242, signal="SIGSEGV"))
    quarantine.set_aside(queue, job, clock.now_us())
    transaction.commit()
    assert job.status == QUARANTINED
    example("quarantine.py")
    assert "host 4242 SIGSEGV None" in capsys.readouterr().out
    assert job.status == PENDING
