"""What running jobs say of themselves, and who sees it."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import pool
from collective.clockwork.engine import progress
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.base import database_name
from collective.clockwork.engine.base import identity
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.progress import Flusher
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import reporting
from collective.clockwork.tests.engine import work
from transaction.interfaces import TransactionError
from uuid import uuid4

import pytest
import transaction
import ZODB


class Held:
    """A flusher that writes when the test says so, in the test's thread."""

    def __init__(self, db):
        self.flusher = Flusher(db)
        # Keeps its thread from being made.
        self.flusher._thread = self

    def join(self, seconds):
        """There is no thread to wait for."""

    def flush(self):
        return self.flusher.flush()


@pytest.fixture
def held(db):
    return Held(db)


@pytest.fixture
def worker(start_dispatcher, held):
    """A worker whose progress is written when the test says so."""
    dispatcher = start_dispatcher()
    dispatcher.flusher = held.flusher
    return dispatcher


@pytest.fixture
def agent(worker, queue):
    def found():
        agents = queue.dispatchers.get(worker.UUID)
        return agents is not None and "main" in agents

    wait_until(found, "the agent", 20, transaction.begin)
    return queue.dispatchers[worker.UUID]["main"]


def begin(queue, function, name, *args):
    """A job that has reported, and waits for the gate of that name."""
    job = queue.put(Job(function, name, *args))
    transaction.commit()
    # Opened at the end of the test, like those that are in use.
    work.gate(f"{name} again")
    assert work.gate(f"{name} begun").wait(20)
    transaction.begin()
    return job


def count_records(db):
    """All versions of all objects in the storage."""
    return sum(1 for one in db.storage.iterator() for _record in one)


def sizes_after(db, tid, what):
    """Sizes of the records with these bytes in transactions after that one."""
    return [
        len(record.data)
        for one in db.storage.iterator(tid)
        if one.tid > tid
        for record in one
        if what in record.data
    ]


# While it runs


def test_others_see_it_while_the_job_runs(queue, worker, held):
    reports = [{"done": 3, "total": 12}, {"message": "third"}]
    job = begin(queue, reporting.report_and_wait, "seen", *reports)
    assert progress.of(job) == progress.Progress()
    assert held.flush()
    transaction.begin()
    seen = progress.of(job)
    assert (seen.done, seen.total, seen.percent) == (3, 12, 25)
    assert seen.message == "third"
    assert seen.since <= clock.now()
    assert seen.eta_seconds >= 0


def test_only_what_changes_is_written(db, queue, worker, held):
    begin(queue, reporting.report_and_wait, "once", {"done": 3})
    assert held.flush()
    before = count_records(db)
    assert not held.flush()
    assert count_records(db) == before


def test_a_thread_writes_it_without_being_asked(db, queue, start_dispatcher):
    dispatcher = start_dispatcher()
    dispatcher.flusher = Flusher(db, interval=0.01)
    try:
        job = begin(queue, reporting.report_and_wait, "alone", {"done": 3})
        wait_until(
            lambda: progress.of(job).done == 3, "showing it", 20, transaction.begin
        )
        thread = dispatcher.flusher._thread
        work.gate("alone").set()
        wait_for_result(job, 20)
    finally:
        dispatcher.flusher.stop()
    assert not thread.is_alive()


def test_a_thousand_reports_add_few_records(db, queue, worker, held):
    job = queue.put(Job(reporting.report_often, "often", 1000))
    transaction.commit()
    before = count_records(db)
    for number in range(10):
        assert work.gate(f"often {number} begun").wait(20)
        assert held.flush()
        work.gate(f"often {number}").set()
    wait_for_result(job, 20)
    held.flush()
    claimed_shown_and_swept = 6
    assert count_records(db) - before <= 20 + claimed_shown_and_swept


def test_a_report_takes_few_bytes(db, queue, worker, held):
    begin(queue, reporting.report_and_wait, "small", {"done": 3, "total": 10})
    held.flush()
    tid = db.lastTransaction()
    reporter = next(iter(held.flusher._reporters.values()))[1]
    for number in range(100):
        reporter.report(number + 4)
        held.flush()
    sizes = sizes_after(db, tid, b"progress")
    assert len(sizes) == 100
    assert max(sizes) < 350


def test_jobs_that_run_side_by_side_share_one_record(db, queue, worker, held, agent):
    jobs = [
        begin(queue, reporting.report_and_wait, name, {"message": name})
        for name in ("one", "two")
    ]
    transaction.begin()
    held.flush()
    transaction.begin()
    assert [progress.of(job).message for job in jobs] == ["one", "two"]
    assert set(agent.board.entries) == set(map(identity, jobs))


def test_no_job_is_run_again_because_it_reports(db, root, queue):
    counter = root["counter"] = work.Counter()
    job = queue.put(Job(reporting.add_reporting, counter, 1000))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert (job.result, counter.count, job.attempt) == (1, 1, 0)


# Its lines


def texts(job):
    return [line.text for line in progress.of(job).lines]


@pytest.mark.parametrize("count", [3, progress.RECENT, 70, 250])
def test_lines_are_shown_in_order(queue, worker, held, count):
    job = begin(queue, reporting.log_and_wait, "log", count)
    held.flush()
    transaction.begin()
    first = [f"line {number}" for number in range(count)]
    assert texts(job) == first[-progress.LINES :]
    work.gate("log").set()
    assert work.gate("log again begun").wait(20)
    held.flush()
    transaction.begin()
    later = [f"later {number}" for number in range(count)]
    assert texts(job) == [*first, *later][-progress.LINES :]


def test_a_new_line_does_not_write_the_old_ones_again(db, queue, worker, held):
    begin(queue, reporting.log_and_wait, "long", progress.LINES)
    held.flush()
    tid = db.lastTransaction()
    reporter = next(iter(held.flusher._reporters.values()))[1]
    reporter.log("one more")
    held.flush()
    assert 0 < max(sizes_after(db, tid, b"")) < 500


@pytest.mark.parametrize("lands", [False, True])
def test_a_flush_that_failed_neither_loses_nor_doubles_lines(
    queue, worker, held, monkeypatch, lands
):
    job = begin(queue, reporting.log_and_wait, f"lands {lands}", 3)
    commit = transaction.TransactionManager.commit

    def commit_and_fail(manager):
        if lands:
            commit(manager)
        raise TransactionError("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(transaction.TransactionManager, "commit", commit_and_fail)
        with pytest.raises(TransactionError):
            held.flush()
    held.flush()
    transaction.begin()
    assert len(texts(job)) == 3


# When the job leaves


def test_the_board_forgets_a_job_that_has_ended(queue, worker, held, agent):
    job = begin(queue, reporting.report_and_wait, "ended", {"done": 3})
    held.flush()
    work.gate("ended").set()
    wait_for_result(job, 20)
    wait_until(held.flush, "forgetting", 20)
    transaction.begin()
    assert agent.board.entries == {}


def test_the_last_report_is_kept_with_the_job(db, queue):
    job = queue.put(
        Job(reporting.report, {"done": 9, "total": 10, "message": "nearly"})
    )
    transaction.commit()
    drain(db)
    transaction.begin()
    kept = progress.of(job)
    assert (kept.done, kept.total, kept.message) == (9, 10, "nearly")
    assert kept.eta_seconds is None


def test_of_a_failed_job_more_lines_are_kept_than_of_others(db, queue):
    failed = queue.put(Job(reporting.log_and_fail, 150))
    done = queue.put(Job(reporting.log, 150))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert failed.result.check(ValueError)
    assert progress.of(failed).message == "failing"
    for job, least, most in ((failed, 100, 150), (done, 10, 30)):
        lines = texts(job)
        assert least < len(lines) < most + 1
        assert lines[-1] == "line 149"
        assert lines == [f"line {n}" for n in range(150 - len(lines), 150)]


def test_a_kept_report_is_small(db, queue):
    job = queue.put(Job(reporting.log, 1000, "x" * 400))
    plain = queue.put(Job(work.nothing))
    transaction.commit()
    drain(db)
    transaction.begin()
    sizes = [len(db.storage.load(each._p_oid)[0]) for each in (job, plain)]
    assert sizes[0] - sizes[1] < 400 + progress.KEPT_OF_SUCCESS + 250


def test_a_job_that_reports_nothing_stores_nothing(db, queue):
    job = queue.put(Job(work.nothing))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert "_report" not in job.__getstate__()
    assert progress.of(job) == progress.Progress()


def test_the_callback_s_report_is_shown_with_its_job(queue, worker, held):
    job = queue.put(Job(work.mirror, "it"))
    job.addCallback(reporting.report_in_callback)
    transaction.commit()
    assert work.gate("callback begun").wait(20)
    held.flush()
    transaction.begin()
    assert progress.of(job).message == "callback of it"


# Others who write


def test_a_swept_job_is_not_written_any_more(queue, worker, held, agent):
    job = begin(queue, reporting.report_and_wait, "swept", {"done": 3})
    held.flush()
    reporter = next(iter(held.flusher._reporters.values()))[1]
    transaction.begin()
    agent.release(job)
    transaction.commit()
    reporter.report(done=4)
    held.flush()
    transaction.begin()
    assert agent.board.entries == {}


def test_a_job_that_was_taken_over_is_not_spoken_of(queue, worker, held, agent):
    job = begin(queue, reporting.report_and_wait, "taken", {"done": 3})
    held.flush()
    transaction.begin()
    assert [line.text for line in progress.last_lines(agent, job)] == []
    assert progress.entry_in(agent, job).state.done == 3
    queue.dispatchers[worker.UUID].deactivate()
    progress.forget_all(agent)
    transaction.commit()
    reporter = next(iter(held.flusher._reporters.values()))[1]
    reporter.report(done=4)
    held.flush()
    transaction.begin()
    assert agent.board.entries == {}
    assert progress.of(job) == progress.Progress()


def test_a_take_over_while_a_flush_is_under_way_wins(
    queue, worker, held, agent, monkeypatch
):
    begin(queue, reporting.report_and_wait, "race", {"done": 3})
    held.flush()
    reporter = next(iter(held.flusher._reporters.values()))[1]
    reporter.report(done=4)
    commit = transaction.TransactionManager.commit

    def commit_late(manager):
        if manager is worker.tm:
            return commit(manager)
        monkeypatch.undo()
        transaction.begin()
        progress.forget_all(agent)
        transaction.commit()
        return commit(manager)

    monkeypatch.setattr(transaction.TransactionManager, "commit", commit_late)
    with pytest.raises(TransactionError):
        held.flush()
    transaction.begin()
    assert agent.board.entries == {}


def test_what_a_crash_left_is_cleared_away(queue, worker, held, agent):
    job = begin(queue, reporting.report_and_wait, "left", {"done": 3})
    held.flush()
    transaction.begin()
    progress.forget_others(agent)
    assert len(agent.board.entries) == 1
    agent.release(job)
    progress.forget_others(agent)
    assert len(agent.board.entries) == 0


def test_the_thread_goes_on_after_an_error(db, caplog, monkeypatch):
    flusher = Flusher(db, interval=0.001)
    errors = [ValueError("unreadable"), TransactionError("conflict"), None]
    calls = []

    def flush():
        calls.append(len(calls))
        error = errors[min(len(calls), len(errors)) - 1]
        if error is not None:
            flusher.changed.set()
            raise error

    monkeypatch.setattr(flusher, "flush", flush)
    flusher.reporter(Ticket(b"1")).report(1)
    wait_until(lambda: len(calls) >= 3, "three flushes", 20)
    flusher.stop()
    assert "progress could not be written" in caplog.text


class Ticket:
    """A claim."""

    agent_oid = b"agent"

    def __init__(self, oid):
        self.claim = (oid, "main", 0)


def test_jobs_of_two_databases_may_have_one_oid(components):
    databases: dict = {}
    for name in ("main", "other"):
        ZODB.DB(None, databases=databases, database_name=name)
    main = databases["main"]
    queue_installer(DatabaseOpened(main))
    connection = main.open()
    other = connection.get_connection("other")
    jobs = [Job(work.nothing), Job(work.nothing)]
    for job, jar in zip(jobs, (connection, other), strict=True):
        jar.add(job)
    while jobs[0]._p_oid != jobs[1]._p_oid:
        behind = min(jobs, key=lambda job: job._p_oid)
        jar, behind._p_jar, behind._p_oid = behind._p_jar, None, None
        jar._added.clear()
        jar.add(behind)
    queue = connection.root()[KEY][""]
    agents = queue.dispatchers.register(uuid4())
    agent = agents["main"] = Agent()
    for job in jobs:
        queue.put(job)
    agent.hold([(job, 0, number) for number, job in enumerate(jobs)])
    transaction.commit()
    held = Held(main)
    for job in jobs:
        ticket = pool.Ticket(job._p_oid, database_name(job), 0, agent._p_oid)
        held.flusher.reporter(ticket).report(message=ticket.database)
    held.flush()
    transaction.begin()
    assert [progress.of(job).message for job in jobs] == ["main", "other"]
    transaction.abort()
    connection.close()
    for database in databases.values():
        database.close()


def test_an_entry_is_of_its_attempt_alone(queue, worker, held, agent):
    job = begin(queue, reporting.report_and_wait, "attempt", {"done": 3})
    held.flush()
    transaction.begin()
    assert progress.entry_in(agent, job) is not None
    job.attempt += 1
    assert progress.entry_in(agent, job) is None
