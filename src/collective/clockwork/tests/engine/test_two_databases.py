"""Queues in a database of their own, and faults in commits that span both.

The ZODB commits to several databases in two phases, in the order of their
storages' names. Up to the last vote a fault stops all of it. Between the two
``tpc_finish`` nothing can be done any more, and the last tests show what that
means.
"""

from __future__ import annotations

from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.tests.engine import faults
from collective.clockwork.tests.engine import model
from ZODB.POSException import POSKeyError

import pytest


#: The main database and that of the queues; the one that is first in the
#: alphabet is committed first.
QUEUES_FIRST = ("main", "async")
CONTENT_FIRST = ("content", "queues")

KILL = pytest.mark.parametrize("kill", [False, True], ids=["error", "kill"])


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    with faults.surroundings(monkeypatch):
        yield


def test_the_story_without_a_fault_ends_well(tmp_path):
    story = faults.Story(tmp_path / "db", faults.Fault(), QUEUES_FIRST)
    story.tell()
    world = story.recover()
    assert len(world.accepted) == len(model.KINDS)
    assert set(world.connection.root()["ledger"].values()) == {1}
    queue = world.queue
    assert queue._p_jar.db().database_name == "async"
    assert all(job._p_jar is queue._p_jar for _accepted, job in world.jobs())
    story.close()


def spanning(commits: list) -> list[int]:
    """Numbers of the commits that take part in both databases."""
    return [number for number, labels in enumerate(commits) if len(labels) == 2]


# The two combinations that are missing are those between the two finishes.
@pytest.mark.parametrize(
    "position, step",
    [(0, step) for step in faults.STEPS if step != "finished"]
    + [(1, step) for step in faults.STEPS if step != "finish"],
)
@KILL
def test_all_recovers_from_a_fault_in_a_commit_of_both(tmp_path, position, step, kill):
    numbers = spanning(faults.plan(tmp_path / "plan", QUEUES_FIRST))
    assert len(numbers) > len(model.KINDS)
    for number in numbers[faults.sample(step, kill)]:
        fault = faults.Fault(step, number, position, kill)
        faults.tell_and_recover(tmp_path / f"db{number}", fault, QUEUES_FIRST)


# Between the two finishes


def put_and_work(story, in_work: bool) -> None:
    """One job; the first commit of both, or the second, is the one that fails."""
    fault, world = story.fault, story.world
    root = world.connection.root()
    root["content"] = faults.OOBTree()
    world.tm.commit()
    fault.armed = not in_work
    job = model.Job(model.effect, root["ledger"], "plain")
    root["content"]["plain"] = root[KEY][""].put(job)
    try:
        world.tm.commit()
    except (OSError, faults.Killed):
        world.tm.abort()
        return
    fault.armed = in_work
    process = world.processes[0]
    for _ in range(30):
        process.poll()
    process.start_work()
    process.go_on()


def end(story):
    """Let all that is left be done, without comparing it with anything."""
    fault = story.fault
    fault.armed = False
    if fault.dead:
        story.reopen()
    world = story.world
    for _ in range(6):
        for process in world.processes:
            process.poll()
            process.go_on()
        world.pass_time(10)
    world.tm.begin()
    completed = [
        job
        for agents in world.queue.dispatchers.values()
        for agent in agents.values()
        for job in agent.completed
    ]
    return completed, world.connection.root()


@pytest.fixture
def story_of(tmp_path):
    opened = []

    def story_of(labels, kill, in_work):
        # Both storages have voted, and the first has finished.
        fault = CutBetween("finish", 0, 1, kill)
        story = faults.Story(tmp_path / "db", fault, labels)
        opened.append(story)
        put_and_work(story, in_work)
        assert fault.happened
        return story

    yield story_of
    for story in opened:
        story.close()


class CutBetween(faults.Fault):
    """Fails in the first commit of both, whatever its number."""

    @property
    def commit(self):
        return len(self.commits) - 1

    @commit.setter
    def commit(self, value):
        """There is one place only."""


@KILL
def test_work_cut_between_the_finishes_is_lost_when_the_queues_are_first(
    story_of, kill
):
    completed, root = end(story_of(QUEUES_FIRST, kill, in_work=True))
    assert [job.result for job in completed] == ["plain"]
    assert dict(root["ledger"]) == {}


def test_work_cut_between_the_finishes_is_done_twice_when_the_content_is_first(
    story_of,
):
    completed, root = end(story_of(CONTENT_FIRST, kill=True, in_work=True))
    assert [job.result for job in completed] == ["plain"]
    assert dict(root["ledger"]) == {"plain": 2}


def test_work_whose_second_finish_fails_counts_as_failed_when_the_content_is_first(
    story_of,
):
    completed, root = end(story_of(CONTENT_FIRST, kill=False, in_work=True))
    assert [job.result.typeName for job in completed] == ["OSError"]
    assert dict(root["ledger"]) == {"plain": 1}


@KILL
def test_queueing_cut_between_the_finishes_leaves_a_job_when_the_queues_are_first(
    story_of, kill
):
    completed, root = end(story_of(QUEUES_FIRST, kill, in_work=False))
    assert [job.result for job in completed] == ["plain"]
    assert dict(root["ledger"]) == {"plain": 1}
    assert "plain" not in root["content"]


@KILL
def test_queueing_cut_between_the_finishes_leaves_no_job_when_the_content_is_first(
    story_of, kill
):
    completed, root = end(story_of(CONTENT_FIRST, kill, in_work=False))
    assert completed == []
    assert dict(root["ledger"]) == {}
    with pytest.raises(POSKeyError):
        root["content"]["plain"]._p_activate()
