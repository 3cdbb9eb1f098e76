"""A fault at each step of each commit in the lives of jobs.

Afterwards the jobs end without help, each effect is there exactly once or not
at all, and a job exists if and only if the content that was changed with it
was stored; ``model.World.check`` and ``settle`` say so.
"""

from __future__ import annotations

from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.tests.engine import faults
from collective.clockwork.tests.engine import model
from transaction.interfaces import TransientError

import pytest
import transaction


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    with faults.surroundings(monkeypatch):
        yield


def test_the_story_without_a_fault_ends_well(tmp_path):
    story = faults.Story(tmp_path / "db", faults.Fault())
    story.tell()
    world = story.recover()
    ledger = dict(world.connection.root()["ledger"])
    assert len(world.accepted) == len(model.KINDS)
    assert set(ledger.values()) == {1}
    assert {name for name in ledger if " " not in name} >= {"plain", "serial.end"}
    story.close()


@pytest.mark.parametrize("kill", [False, True], ids=["error", "kill"])
@pytest.mark.parametrize("step", faults.STEPS)
def test_all_recovers_from_a_fault(tmp_path, step, kill):
    commits = faults.plan(tmp_path / "plan")
    assert len(commits) > 10
    for number in range(len(commits))[faults.sample(step, kill)]:
        fault = faults.Fault(step, number, kill=kill)
        faults.tell_and_recover(tmp_path / f"db{number}", fault)


# Something else takes part in the transaction

DATABASES = pytest.mark.parametrize(
    "labels", [("main",), ("main", "async")], ids=["one database", "two databases"]
)
PLACES = pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
MOMENTS = pytest.mark.parametrize("step", ["begin", "store", "vote", "finish"])


@pytest.fixture
def open_world(tmp_path):
    opened = []

    def open_world(labels):
        story = faults.Story(tmp_path / "db", faults.Fault(), labels)
        opened.append(story)
        root = story.world.connection.root()
        root["content"] = faults.OOBTree()
        story.world.tm.commit()
        return story

    yield open_world
    for story in opened:
        story.close()


def put(story, participant=None):
    manager = transaction.TransactionManager()
    connection = story.world.db.open(manager)
    root = connection.root()
    job = model.Job(faults.effect_with_participant, root["ledger"], "plain")
    root["content"]["plain"] = root[KEY][""].put(job)
    if participant is not None:
        manager.get().join(participant)
    try:
        manager.commit()
    finally:
        manager.abort()
        connection.close()


@DATABASES
@PLACES
@MOMENTS
def test_a_job_exists_with_its_content_or_not_at_all(open_world, labels, first, step):
    story = open_world(labels)
    with pytest.raises(OSError, match="no mail"):
        put(story, faults.Participant(step, first, OSError("no mail")))
    world = story.recover()
    # One that fails at the very end, after the databases, changes nothing.
    landed = step == "finish" and not first
    assert len(world.accepted) == landed
    assert len(world.connection.root()["ledger"]) == landed


@DATABASES
@PLACES
@MOMENTS
@pytest.mark.parametrize("error", [OSError, TransientError])
def test_a_job_whose_commit_fails_has_its_effect_once_or_fails(
    open_world, labels, first, step, error
):
    story = open_world(labels)
    faults.participants.append(faults.Participant(step, first, error("no mail")))
    put(story)
    world = story.recover()
    assert not faults.participants
    [(_accepted, job)] = world.jobs()
    landed = step == "finish" and not first
    assert isFailure(job.result) == (error is OSError and not landed)
