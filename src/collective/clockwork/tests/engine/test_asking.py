"""Options and outcomes from ``queue.put`` to the end of the job."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import unique
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.errors import RefusedOutcomeError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.outcomes import Cancel
from collective.clockwork.engine.outcomes import RetryAfter
from collective.clockwork.engine.outcomes import Snooze
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import DRAIN_UUID
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import tearDownDatetime
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.engine.tidy import Tidier
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.moments import NOW
from collective.clockwork.tests.engine.work import Ledger
from datetime import datetime
from datetime import timedelta

import pytest
import threading
import transaction


SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


pytestmark = pytest.mark.usefixtures("frozen")


@pytest.fixture
def ledger(root):
    root["ledger"] = Ledger()
    transaction.commit()
    return root["ledger"]


def completed(queue):
    return queue.dispatchers[DRAIN_UUID]["main"].completed


def run(db, at: datetime | None = None) -> int:
    transaction.commit()
    if at is not None:
        set_now(at)
    count = drain(db)
    transaction.begin()
    return count


# What is refused


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 101},
        {"timeout": -SECOND},
        {"uniqe": "k"},
        {"debounce": HOUR},
        {"unique": "k", "debounce": HOUR, "begin_after": NOW},
        {"unique": "k", "debounce": HOUR, "on_duplicate": "drop"},
        {"groupable": True, "timeout": SECOND},
        {"unique": "taken"},
    ],
)
def test_nothing_is_stored_when_options_are_refused(queue, options):
    queue.put(work.answer, unique="taken")
    transaction.commit()
    with pytest.raises((OptionError, DuplicateJobError)):
        queue.put(work.answer, **options)
    jar = queue._p_jar
    assert not jar._registered_objects
    assert not jar._added
    assert len(queue) == 1


# Unique


def test_a_second_job_of_a_key_is_refused_dropped_or_replaces(db, queue):
    first = queue.put(work.answer, unique="k")
    transaction.commit()
    with pytest.raises(DuplicateJobError) as caught:
        queue.put(work.answer, unique="k")
    assert caught.value.job is first
    assert queue.put(work.boom, unique="k", on_duplicate="drop") is first
    second = queue.put(work.answer, unique="k", on_duplicate="replace")
    assert run(db) == 1
    assert second.result == 42
    error = first.result.value
    assert isinstance(error, CancelledError)
    assert error.reason == "another job has its unique key 'k' now"
    assert queue.put(work.answer, unique="k", on_duplicate="drop") not in (
        first,
        second,
    )
    assert len(queue) == 1


def test_a_debounced_job_runs_once_after_the_last(db, queue, ledger):
    for number in range(5):
        set_now(NOW + number * SECOND)
        queue.put(Job(work.note, ledger, number), unique="k", debounce=10 * SECOND)
        run(db)
        assert len(queue) == 1, "what was replaced is cleared away"
    run(db, NOW + 13 * SECOND)
    assert len(ledger) == 0
    run(db, NOW + 14 * SECOND)
    assert dict(ledger) == {0: 4}
    run(db, NOW + DAY)
    assert len(ledger) == 1
    assert len(queue) == 0


def test_the_callbacks_of_a_replaced_job_are_run_soon(db, queue):
    job = queue.put(work.answer, unique="k", debounce=HOUR)
    callback = job.addCallback(work.mirror)
    run(db)
    queue.put(work.answer, unique="k", debounce=HOUR)
    run(db)
    assert job.status == "completed-status"
    assert callback.result.check(CancelledError)
    assert len(queue) == 1


def test_producers_that_debounce_different_keys_never_conflict(db, queue):
    errors: list = []
    together = threading.Barrier(4)

    def produce(number):
        manager = transaction.TransactionManager()
        connection = db.open(manager)
        try:
            together.wait(20)
            for count in range(40):
                manager.begin()
                key = f"{number} {count % 3}"
                connection.root()[KEY][""].put(work.answer, unique=key, debounce=HOUR)
                manager.commit()
        except Exception as error:
            errors.append(error)
        finally:
            manager.abort()
            connection.close()

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    run(db)
    assert len(queue) == 12
    assert len(completed(queue)) == 148


def test_the_tidier_removes_the_keys_of_ended_jobs(db, queue):
    for number in range(3):
        queue.put(work.answer, unique=f"k{number}")
    run(db)
    queue.put(work.answer, unique="waits")
    transaction.commit()
    tidier = Tidier()
    tidier.tidy(queue.parent)
    assert [key for key, _entry in queue.keys.items()] == ["waits"]


def test_the_installer_makes_what_unique_jobs_need(queue):
    assert isinstance(queue.keys, unique.Keys)


# Outcomes

#: What jobs ask for here, by name; they take it out one after the other.
wishes: dict[str, list] = {}


def ask(ledger, name, raised):
    """Notes that it was here, then does what is wished."""
    ledger.note(len(wishes[name]))
    if not wishes[name]:
        return "done"
    wish = wishes[name].pop(0)
    if raised:
        raise wish
    return wish


def put_wishes(queue, ledger, raised, *outcomes, **options):
    wishes["job"] = list(outcomes)
    job = queue.put(Job(ask, ledger, "job", raised), **options)
    transaction.commit()
    return job


@pytest.mark.parametrize("raised", [True, False])
def test_a_job_can_cancel_itself(db, queue, ledger, raised):
    job = put_wishes(queue, ledger, raised, Cancel("not needed"))
    assert run(db) == 1
    assert str(job.result.value) == "cancelled by the job itself: not needed"
    assert len(ledger) == (0 if raised else 1)
    assert explain(job).code == "cancelled"
    assert list(completed(queue)) == [job]


@pytest.mark.parametrize("raised", [True, False])
def test_a_job_can_be_snoozed_as_often_as_it_likes(db, queue, ledger, raised):
    job = put_wishes(
        queue,
        ledger,
        raised,
        *[Snooze(HOUR)] * 12,
        begin_by=SECOND,
        retry_policy_factory=Backoff(1),
    )
    for number in range(12):
        assert run(db, NOW + number * HOUR) == 1
        assert run(db) == 0
        assert job.status == "pending-status"
        assert job.begin_after == NOW + (number + 1) * HOUR
        assert explain(job).code == "snoozed"
        assert job._tries == 0
    run(db, NOW + 20 * HOUR)
    assert job.result == "done"
    assert len(ledger) == (1 if raised else 13)


@pytest.mark.parametrize("raised", [True, False])
def test_a_retry_counts_and_the_policy_has_the_last_word(db, queue, ledger, raised):
    job = put_wishes(
        queue,
        ledger,
        raised,
        *[RetryAfter(HOUR)] * 5,
        retry_policy_factory=Backoff(3),
    )
    for number in range(2):
        assert run(db, NOW + number * HOUR) == 1
        assert job._tries == number + 1
        assert explain(job).code == "retry"
    run(db, NOW + 2 * HOUR)
    assert job.result.check(RefusedOutcomeError)
    assert len(ledger) == (0 if raised else 3)


def test_without_a_limit_a_retry_is_always_heeded(db, queue, ledger):
    job = put_wishes(queue, ledger, False, *[RetryAfter(0)] * 20)
    assert run(db) == 21
    assert job.result == "done"
    assert job._tries == 20


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("kind", [Snooze, RetryAfter])
def test_a_callback_cannot_wait(db, queue, ledger, kind, raised):
    wishes["callback"] = [kind(HOUR)]
    job = queue.put(work.nothing)
    callback = job.addCallback(Job(ask_in_callback, raised))
    run(db)
    assert job.status == callback.status == "completed-status"
    assert callback.result.check(RefusedOutcomeError)


def ask_in_callback(raised, result):
    wish = wishes["callback"].pop()
    if raised:
        raise wish
    return wish


@pytest.mark.parametrize("raised", [True, False])
def test_a_job_that_is_called_by_hand_cannot_wait_outside_a_queue(root, ledger, raised):
    wishes["hand"] = [Snooze(HOUR)]
    job = root["job"] = Job(ask, ledger, "hand", raised)
    transaction.commit()
    assert job().check(RefusedOutcomeError)


def test_a_worker_runs_a_snoozed_job_again(queue, ledger, start_dispatcher):
    tearDownDatetime()
    start_dispatcher()
    job = put_wishes(queue, ledger, False, Snooze(0.05), Snooze(0.05))
    assert wait_for_result(job) == "done"
    assert dict(ledger) == {0: 2, 1: 1, 2: 0}


# Retention


@pytest.mark.parametrize(
    "function, options",
    [
        (work.answer, {"keep_result": timedelta()}),
        (work.boom, {"keep_failure": timedelta()}),
    ],
)
def test_what_is_to_be_dropped_is_nowhere_after_the_sweep(db, queue, function, options):
    job = queue.put(function, **options)
    plain = queue.put(work.answer)
    run(db)
    assert list(completed(queue)) == [plain]
    assert job.status == "completed-status"


def test_results_and_failures_of_a_queue_are_kept_apart(db, queue):
    queue.keep_result = timedelta()
    queue.keep_failure = HOUR
    good = queue.put(work.answer)
    bad = queue.put(work.boom)
    own = queue.put(work.answer, keep_result=DAY)
    run(db)
    assert set(completed(queue)) == {own, bad}
    assert good.result == 42
    set_now(NOW + 2 * HOUR)
    Tidier().tidy(queue.parent)
    assert list(completed(queue)) == [own]
    set_now(NOW + 2 * DAY)
    Tidier().tidy(queue.parent)
    assert not completed(queue)


def test_a_worker_files_what_its_threads_have_run(queue, start_dispatcher):
    tearDownDatetime()
    made = start_dispatcher()
    dropped = queue.put(work.answer, keep_result=timedelta())
    kept = queue.put(work.boom, keep_failure=HOUR)
    plain = queue.put(work.answer)
    transaction.commit()
    assert isFailure(wait_for_result(kept))

    def swept():
        agents = queue.dispatchers.get(made.UUID)
        agent = None if agents is None else agents.get("main")
        return agent is not None and not len(agent) and len(agent.completed) == 2

    wait_until(swept, "the sweep", begin=transaction.begin)
    found = queue.dispatchers[made.UUID]["main"].completed
    assert set(found) == {kept, plain}
    (shelf,) = found.shelves.values()
    assert list(shelf) == [kept]
    assert dropped.result == 42


def test_a_finished_job_that_is_taken_over_is_filed_too(db, queue):
    job = queue.put(work.answer, keep_result=HOUR)
    run(db)
    agents = queue.dispatchers[DRAIN_UUID]
    completed(queue).clear()
    agents["main"].hold([(job, job.attempt, 1)])
    agents.deactivate()
    (shelf,) = completed(queue).shelves.values()
    assert list(shelf) == [job]


def test_few_jobs_do_not_keep_each_other_for_long(db, queue):
    for number in range(30):
        queue.put(work.answer, keep_result=HOUR)
        run(db, NOW + number * HOUR / 2)
        Tidier().tidy(queue.parent)
        transaction.commit()
        assert len(completed(queue)) <= 4
    assert clock.now() > NOW + 14 * HOUR
